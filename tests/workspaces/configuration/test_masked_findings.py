"""What a finding shows of a config is masked, whatever the secrets are, in text and time that stay small."""

from hashlib import sha512

import pytest

from events.masking.masker import MASK, Masker
from tests.workspaces.factories import queued
from workspaces.configuration import preflight as preflight_module
from workspaces.configuration.diagnostics import findings_without_values
from workspaces.configuration.parser import inspect_config
from workspaces.configuration.preflight import PreflightFailed

SECRET = "hunter2-hunter2"
LONG_SECRET = sha512(b"a value").hexdigest()


def shows(secret, text):
    """Return whether a text shows eight characters of a secret."""
    return any(secret[start : start + 8] in text for start in range(len(secret) - 7))


def masked_warnings(config, *secrets):
    return findings_without_values(inspect_config(config).warnings, Masker(secrets))


def test_a_secret_made_of_the_masks_own_character_does_not_lengthen_messages_more_and_more():
    config = "".join(f"{MASK[0] * width}: x\n" for width in range(1, 6))
    lengths = [len(each.message) for each in masked_warnings(config, MASK[0])]
    assert len(lengths) == 5
    assert max(lengths) < 300


def test_a_long_secret_stays_masked_beside_a_key_that_holds_the_beginning_of_its_path():
    config = f"{SECRET}: x\n{SECRET}.{LONG_SECRET}: y\n"
    shown = "".join(map(str, masked_warnings(config, SECRET, LONG_SECRET)))
    assert MASK in shown
    assert not shows(LONG_SECRET, shown)


def test_a_short_secret_is_masked_as_a_word_and_garbles_no_other():
    one, other = masked_warnings("a: x\nrutime: y\n", "a")
    sentence = f"neither Slipway nor {MASK} known runtime reads this key."
    assert (one.path, one.message) == (MASK, f"{MASK}: {sentence}")
    assert (other.path, other.message) == ("rutime", f"rutime: {sentence}")


class CountingMasker(Masker):
    """Counts the characters that it masks."""

    characters = 0

    def mask_all(self, texts):
        self.characters += sum(map(len, texts))
        return super().mask_all(texts)


def test_of_a_long_text_only_the_beginning_is_masked():
    key = SECRET + r"\u200b%41" * 11_000
    aliases = "".join(f"  - ? *key\n    : {{required_env: [A_{number}]}}\n" for number in range(10))
    found = inspect_config(f'first: &key "{key}"\nmodels:\n{aliases}').problems
    assert sum(len(text) for each in found for text in each.texts) > 300_000
    masker = CountingMasker([SECRET, LONG_SECRET])
    shown = findings_without_values(found, masker)
    assert masker.characters < 30_000
    assert MASK in str(shown)
    assert not shows(SECRET, str(shown))


@pytest.mark.parametrize("length", [*range(90, 1200, 30), *range(900, 1010)])
def test_a_secret_of_any_length_is_masked_wherever_a_text_is_cut(length):
    secret = "".join(sha512(bytes([number])).hexdigest() for number in range(10))[:length]
    for before in ("", "k" * 50, "k" * 90):
        [found] = masked_warnings(f"? {before}{secret}-and-more\n: x\n", secret)
        assert MASK in found.message
        assert not shows(secret, f"{found.path} {found.message}")


@pytest.mark.django_db
def test_a_launch_that_fails_its_preflight_reads_its_secrets_for_masking_once(monkeypatch):
    workspace, made = queued(config="rutime: x\nenv: {required: [A_KEY]}\n"), []
    monkeypatch.setattr(preflight_module, "masker_of", lambda pk: made.append(pk) or Masker([]))
    with pytest.raises(PreflightFailed, match="A_KEY"):
        preflight_module.preflight(workspace)
    assert made == [workspace.pk]


@pytest.mark.django_db
def test_a_launch_about_whose_config_nothing_is_to_be_said_reads_no_secret_for_masking(monkeypatch):
    workspace = queued(config="name: x\n", secrets={"A_KEY": "changeme"})
    monkeypatch.setattr(preflight_module, "masker_of", lambda pk: pytest.fail("nothing is to be masked"))
    assert [each.code for each in preflight_module.preflight(workspace).warnings] == ["suspicious_value"]
