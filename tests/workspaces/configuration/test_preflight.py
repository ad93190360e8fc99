"""Preflight on the server: every problem at once, before anything is launched."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.growth import assert_grows_linearly, at_most
from tests.workspaces.factories import queued
from workspaces.access import secrets
from workspaces.configuration.diagnostics import MOST_DIAGNOSTICS
from workspaces.configuration.parser import BadConfig, inspect_config, parse_config
from workspaces.configuration.preflight import PreflightFailed, examine, preflight
from workspaces.configuration.secret_files import given_secrets
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Workspace
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.launching.create import CreateRequest, create

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(8)
)

BAD = {
    "a tab": ("name: x\n\truntime: y\n", "line 2"),
    "an open bracket": ("name: [x\n", "line 2"),
    "a list at the top": ("- a\n- b\n", "mapping"),
    "nothing at all": ("", "mapping"),
    "a bare word": ("hello", "mapping"),
    "two documents": ("name: x\n---\nname: y\n", "line 2"),
    "a wrong type": ("name: x\nruntime_config:\n  required_env: OPENAI_API_KEY\n", "runtime_config.required_env"),
    "a wrong item": ("name: x\nruntime_config:\n  required_env:\n    - 1KEY\n", "line 4"),
    "a key given twice": ("runtime_config: {}\nruntime_config: {}\n", "given twice (line 2, column 1)"),
    "a YAML bomb": (BOMB, "aliases"),
    "an alias that contains itself": ("a: &a [*a]\n", "contains itself"),
    "deep nesting": ("a: " + "[" * 5000 + "]" * 5000, "deeper than"),
    "too much of it": ("a: " + "x" * 300_000, "256 KiB"),
    "a control character": ("name: x\x07\n", "line 1, column 8"),
    "a python object": ("a: !!python/object/apply:os.system ['true']\n", "line 1"),
    "a number of 5,000 digits": ("a: " + "9" * 5000, "config.yaml"),
    "a negative timeout": ("runtime_config: {provision_timeout_seconds: -5}", "provision_timeout_seconds"),
}


@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD)
def test_a_bad_config_is_refused_with_its_key_or_line(text, named):
    with pytest.raises(BadConfig) as refused:
        parse_config(text)
    assert named in str(refused.value)


@pytest.mark.django_db
@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD)
def test_a_bad_config_creates_nothing(text, named):
    with pytest.raises(InvalidWorkspace) as refused:
        create(CreateRequest(name="bad", config=text or " "), now=None)
    assert "config" in refused.value.fields


@pytest.mark.parametrize("text", ["runtime_config:\n", "name: x\nenv:\n", "runtime: hermes\nruntime_config: null\n"])
def test_a_key_without_a_value_is_an_empty_one(text):
    assert isinstance(parse_config(text), dict)


# Public workspace templates without comments: github.com/Molecule-AI/molecule-core, workspace-configs-templates.
REAL_CONFIGS = Path(__file__).parent / "real"
EXPECTED = {
    "autogen": ["OPENAI_API_KEY"],
    "claude-code-default": ["CLAUDE_CODE_OAUTH_TOKEN"],
    "crewai": ["OPENAI_API_KEY"],
    "deepagents": ["OPENAI_API_KEY"],
    "gemini-cli": ["GEMINI_API_KEY"],
    "hermes": ["HERMES_API_KEY"],
    "langgraph": ["OPENAI_API_KEY"],
    "openclaw": ["OPENAI_API_KEY"],
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_without_its_keys_names_exactly_what_it_needs(name):
    workspace = queued(config=(REAL_CONFIGS / f"{name}.config.yaml").read_text())
    with pytest.raises(PreflightFailed) as refused:
        preflight(workspace)
    assert (refused.value.code, refused.value.missing) == (FailureCode.MISSING_ENV, EXPECTED[name])
    secrets.put_secrets(dict.fromkeys(EXPECTED[name], "value"), workspace_id=workspace.pk)
    assert preflight(workspace).environment == dict.fromkeys(EXPECTED[name], "value")


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["runtime: echo\n", "runtime: echo\nname: 5\n"], ids=["good", "bad"])
def test_a_stored_model_that_can_not_be_used_fails_the_launch_with_a_sentence(text):
    workspace = queued()
    # As an earlier version stored it.
    Workspace.objects.filter(pk=workspace.pk).update(model="a\nb", config=text)
    workspace.refresh_from_db()
    with pytest.raises(
        PreflightFailed, match=r"model contains the control character U.000A. Create a workspace"
    ) as found:
        preflight(workspace)
    assert found.value.code == FailureCode.BAD_CONFIG
    assert ("name: must be" in str(found.value)) == ("name" in text)


@pytest.mark.django_db
@pytest.mark.parametrize("place", ["models", "runtime_config: {models"])
@pytest.mark.parametrize("model", ["hub/x", "Hub/X"])
def test_the_requirements_of_a_matching_entry_of_models_are_checked(place, model):
    entries = "[{id: 'hub/*', required_env: [HUB_TOKEN]}]" + ("}" if "{" in place else "")
    workspace = queued(config=f"{place}: {entries}\n", model=model)
    with pytest.raises(PreflightFailed, match=r'The entry "hub/\*" .* applies to the model [hH]ub/[xX]') as refused:
        preflight(workspace)
    assert (refused.value.code, refused.value.missing) == (FailureCode.MISSING_ENV, ["HUB_TOKEN"])
    secrets.put_secrets({"HUB_TOKEN": "value"}, workspace_id=workspace.pk)
    assert preflight(workspace).environment == {"HUB_TOKEN": "value"}


@pytest.mark.django_db
def test_all_missing_names_stand_in_one_failure():
    workspace = queued(config="runtime_config: {required_env: [A_KEY, B_KEY]}\nenv: {required: [C_KEY, A_KEY]}\n")
    with pytest.raises(PreflightFailed) as refused:
        preflight(workspace)
    assert refused.value.missing == ["A_KEY", "B_KEY", "C_KEY"]
    assert all(name in str(refused.value) for name in refused.value.missing)


def test_of_many_missing_variables_the_first_are_named_with_their_places_and_the_others_counted():
    text = "env:\n  required:\n" + "".join(f"    - KEY_{number}\n" for number in range(500))
    problems = examine(inspect_config(text), stored={}).problems
    assert [each.path for each in problems[:99]] == [f"env.required[{number}]" for number in range(99)]
    assert [(each.line, each.column) for each in problems[:99]] == [(number, 7) for number in range(3, 102)]
    assert [each.message for each in problems[99:]] == ["And 401 more."]


def test_only_the_last_problem_counts_the_others_wherever_they_come_from():
    text = "prompt_files: [" + "1," * 300 + "]\nenv: {required: [A_KEY]}\n"
    problems = examine(inspect_config(text), stored={}, given=given_secrets({"1BAD": "a value"})).problems
    assert (problems[0].code, problems[0].path) == ("bad_secret", "secrets.1BAD")
    assert [each.path for each in problems[1:99]] == [f"prompt_files[{number}]" for number in range(98)]
    assert [each.message for each in problems[99:]] == ["And 203 more."]


def names(number):
    return ", ".join(f"KEY_{each}" for each in range(number))


MISSING = {
    "alone": lambda size: f"runtime_config: {{required_env: [{names(size)}]}}\n",
    "behind a long list as a key": lambda size: f"? [{'x, ' * size}]\n: x\nenv: {{required: [{names(size)}]}}\n",
}


@pytest.mark.parametrize("make", MISSING.values(), ids=MISSING)
def test_the_time_of_a_preflight_grows_with_the_number_of_missing_variables_and_not_faster(make):
    took = assert_grows_linearly(lambda text: examine(inspect_config(text), stored={}), make, size=2000)
    assert took < at_most(3)


@pytest.mark.django_db
def test_a_launch_looks_for_the_places_of_the_missing_variables_that_are_shown_and_names_all(monkeypatch):
    workspace, looked_for = queued(config=MISSING["alone"](200)), []
    monkeypatch.setattr("workspaces.configuration.parser.find_mark", lambda key, root: looked_for.append(key))
    with pytest.raises(PreflightFailed) as refused:
        preflight(workspace)
    assert (len(refused.value.missing), len(looked_for)) == (200, MOST_DIAGNOSTICS + 1)


@pytest.mark.django_db
def test_a_bad_config_and_what_is_missing_stand_in_one_failure():
    workspace = queued()
    workspace.config = "a2a: {port: 0}\nname: 5\nenv: {required: [A_KEY]}\n"
    with pytest.raises(PreflightFailed) as refused:
        preflight(workspace)
    assert (refused.value.code, refused.value.missing) == (FailureCode.BAD_CONFIG, ["A_KEY"])
    assert refused.value.source is None
    assert all(part in str(refused.value) for part in ["(line 1, column 7)", "(line 2, column 1)", "A_KEY"])


@pytest.mark.django_db
def test_a_workspaces_own_secret_overrides_the_global_one():
    workspace = queued(secrets={"A_KEY": "own"})
    secrets.put_secrets({"A_KEY": "global", "B_KEY": "global too"}, workspace_id=None)
    assert preflight(workspace).environment == {"A_KEY": "own", "B_KEY": "global too"}


@pytest.mark.django_db
def test_a_secret_encrypted_with_a_lost_key_is_named_and_nothing_launched(settings):
    workspace = queued(secrets={"A_KEY": "value"})
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(PreflightFailed, match="A_KEY") as refused:
        preflight(workspace)
    assert refused.value.code == FailureCode.SECRET_UNREADABLE


@pytest.mark.django_db
def test_a_lost_key_harms_only_the_secrets_that_a_workspace_gets(settings):
    secrets.put_secrets({"A_KEY": "global", "B_KEY": "global"}, workspace_id=None)
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    workspace = queued(secrets={"A_KEY": "own"})
    with pytest.raises(PreflightFailed, match="B_KEY"):
        preflight(workspace)
    secrets.put_secrets({"B_KEY": "own"}, workspace_id=workspace.pk)
    assert preflight(workspace).environment == {"A_KEY": "own", "B_KEY": "own"}


@pytest.mark.django_db
def test_keys_rotate_and_old_secrets_stay_readable(settings):
    workspace = queued(secrets={"A_KEY": "value"})
    settings.SECRETS_KEYS = [Fernet.generate_key().decode(), *settings.SECRETS_KEYS]
    assert preflight(workspace).environment == {"A_KEY": "value"}


@pytest.mark.django_db
def test_a_secret_is_encrypted_at_rest():
    workspace = queued(secrets={"A_KEY": "plain-to-see"})
    assert "plain-to-see" not in workspace.secrets.get().ciphertext


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["PORT", "WORKSPACE_TOKEN", "1X", "A-B", "", "A" * 300, "A\nB", "Ä"])
def test_a_secret_by_a_bad_or_reserved_name_is_refused_with_nothing_created(name):
    with pytest.raises(InvalidWorkspace) as refused:
        queued(secrets={"GOOD": "1234", name: "hidden-value"})
    assert "secrets" in refused.value.fields
    assert "hidden-value" not in str(refused.value)
