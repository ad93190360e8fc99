"""Values that are probably not meant are named, never refused, and never repeated."""

import pytest

from tests.growth import assert_grows_linearly, at_most
from workspaces.configuration.suspicious import suspicious_values

REAL_KEY = "sk-proj-4bT9xQ1v"


def messages(value, name="A_KEY"):
    found = list(suspicious_values({name: value}, lines={}))
    assert all(each.code == "suspicious_value" and each.path == f"secrets.{name}" and each.hint for each in found)
    return [each.message for each in found]


@pytest.mark.parametrize(
    "value",
    [
        *("changeme", "CHANGE_ME", "change-me", "replace me", "TODO", "dummy", "placeholder"),
        *("<your-key>", "<api key>", "your-api-key", "YOUR_API_KEY_HERE", "put-it-here", "{{ key }}"),
        *("xxx", "XXXXXXXX", "sk-xxx", "sk-...", "sk-…", "ghp_xxxx", "...", "***", "sk-ant-..."),
        *("$OPENAI_API_KEY", "${KEY}", "A_KEY"),
    ],
)
def test_a_placeholder_is_named(value):
    assert messages(value) == ["The value of A_KEY looks like a placeholder."]


@pytest.mark.parametrize("value", [f" {REAL_KEY}", f"{REAL_KEY} ", f"{REAL_KEY}\n", f"\t{REAL_KEY}"])
def test_white_space_around_a_value_is_named(value):
    assert messages(value) == ["The value of A_KEY begins or ends with white space."]


def test_quotes_and_invisible_characters_are_named_and_a_placeholder_in_quotes_too():
    assert "in quotes" in messages(f'"{REAL_KEY}"')[0]
    assert "invisible" in messages(f"{REAL_KEY}\u200b")[0]
    assert len(messages('"changeme"')) == 2


@pytest.mark.parametrize(
    "value",
    [
        *(
            REAL_KEY,
            "postgres://user:pw@host/db",
            "true",
            "0",
            "hunter2",
            "fox",
            "xx",
            "a.b..c",
            "there",
            "$5 a month!",
        ),
        *("-----BEGIN KEY-----\nabc\n-----END KEY-----\n", '{"a": "b"}', "", "   ", "sphere", "x" * 500 + "y"),
    ],
)
def test_a_real_value_is_not(value):
    assert messages(value) == []


def test_no_finding_repeats_the_value():
    for value in ("sk-secret-part...", " hunter2-hunter2 ", '"hunter2-hunter2"'):
        assert not any(value.strip('" ') in text for text in messages(value))


@pytest.mark.parametrize("value", ["a-", "x", "<", "$a", "your-", " ", "'"])
def test_the_time_grows_with_the_value_and_not_faster(value):
    took = assert_grows_linearly(
        lambda text: list(suspicious_values({"K": text}, lines={})), lambda n: value * n, size=16_000
    )
    assert took < at_most(1)
