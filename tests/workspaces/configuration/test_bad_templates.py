"""A template that can't be read is listed as bad wherever templates are listed, and harms no other."""

import io
import os
from hashlib import sha512
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError

from events.masking.masker import MASK
from monitoring import checks
from tests.callers import holder
from workspaces.access import secrets
from workspaces.access.secrets import put_secrets
from workspaces.configuration import catalog
from workspaces.configuration.effective import inspect_source
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db


def written(text):
    return lambda path: path.write_bytes(text)


BAD = {
    "an unclosed list": written(b"name: [unclosed\n"),
    "a tag whose value can't be read as one": written(b"name: bad\nruntime: !!timestamp soon\n"),
    "a boolean that is none": written(b"name: bad\nruntime: !!bool maybe\n"),
    "an integer that is empty": written(b"name: bad\ntier: !!int ''\n"),
    "three hundred thousand brackets": written(b"[" * 200_000),
    "bytes that are not UTF-8": written(b"name: \xff\n"),
    "nothing": written(b""),
    "a folder": lambda path: path.mkdir(),
    "a pipe that nobody writes to": os.mkfifo,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
}


def by_check():
    return "\n".join(found.msg for found in checks.check_catalog())


def by_command():
    out = io.StringIO()
    call_command("launch", stdout=out)
    return out.getvalue()


def by_api():
    answer = holder(ApiScope.READ).get("/templates")
    assert answer.status_code == 200
    listed = {each["id"]: each for each in answer.json()}
    assert (listed["good"]["runtime"], listed["good"]["problem"]) == ("echo", "")
    return f"good, bad: {listed['bad']['problem']}" if listed["bad"]["problem"] else ""


@pytest.fixture
def by_admin(admin_client):
    def listed():
        page = admin_client.get("/admin/workspaces/workspace/add/")
        assert page.status_code == 200
        return page.content.decode()

    return listed


@pytest.fixture
def folder(settings, tmp_path):
    """A catalog with a good template and the folder of a bad one."""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "good" / "config.yaml").write_text("name: good\nruntime: echo\n")
    settings.CATALOG_DIRS = [tmp_path]
    return tmp_path / "bad"


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_template_is_listed_with_its_reason_by_check_command_api_and_admin(folder, by_admin, fault):
    BAD[fault](folder / "config.yaml")
    problem = catalog.read_template(folder).problem
    assert problem
    for listing in (by_check, by_command, by_api):
        assert problem in listing(), listing.__name__
    assert "good" in by_command()
    assert "bad (can&#x27;t be used: " in by_admin()
    assert 'value="good"' in by_admin()


@pytest.mark.parametrize("value", ["hunter2-hunter2", sha512(b"a value").hexdigest()], ids=["short", "long"])
def test_a_secret_that_a_bad_template_repeats_is_masked_wherever_it_is_listed(folder, by_admin, value):
    put_secrets({"A_KEY": value}, workspace_id=None)
    (folder / "config.yaml").write_text(f"env: {{required: [{value}-]}}\n")
    for listing in (by_check, by_command, by_api, by_admin):
        text = listing()
        assert MASK in text, listing.__name__
        assert value[:8] not in text, listing.__name__


def test_the_check_leaves_the_reason_out_if_secrets_can_not_be_read(folder, monkeypatch):
    (folder / "config.yaml").write_text("env: {required: [hunter2-hunter2]}\n")

    def fail(*arguments):
        raise OperationalError("away")

    monkeypatch.setattr(secrets, "readable_values", fail)
    assert by_check() == (
        "The template bad can't be launched: the reason is left out, since the secrets in it can't be masked now."
    )


@pytest.mark.parametrize("error", [KeyError("k"), RecursionError(), AttributeError("a"), ZeroDivisionError()])
def test_an_error_that_no_code_expects_spoils_only_its_template(folder, by_admin, monkeypatch, error):
    (folder / "config.yaml").write_text("name: bad\nruntime: odd\n")
    parse = catalog.parse_config

    def parse_or_raise(text):
        if "odd" in text:
            raise error
        return parse(text)

    monkeypatch.setattr(catalog, "parse_config", parse_or_raise)
    for listing in (by_check, by_command, by_api):
        assert type(error).__name__ in listing(), listing.__name__
    assert type(error).__name__ in by_admin()


def test_a_good_template_launches_beside_a_bad_one(folder):
    os.mkfifo(folder / "config.yaml")
    operator = holder(ApiScope.OPERATE)
    created = operator.post("/workspaces", {"name": "one", "template": "good"})
    assert created.status_code == 201, created.content
    refused = operator.post("/workspaces", {"name": "two", "template": "bad"})
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["template"])


def create_by_api():
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "new", "template": "good"})
    assert answer.status_code == 201, answer.content


READERS = {
    "check": by_check,
    "launch without arguments": by_command,
    "deadlines": lambda: call_command("deadlines"),
    "the list of the API": by_api,
    "a launch by the API": create_by_api,
}


@pytest.mark.parametrize("reader", READERS)
def test_the_folder_of_the_catalog_is_read_once_however_many_templates_and_runtimes_there_are(
    reader, folder, monkeypatch
):
    BAD["nothing"](folder / "config.yaml")
    read, iterdir = [], Path.iterdir

    def iterdir_and_count(path):
        read.append(path)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", iterdir_and_count)
    READERS[reader]()
    assert read == [folder.parent]


@pytest.fixture(params=["a name that is too long", "a link to itself"])
def unreadable_root(request, settings, tmp_path, folder):
    """A folder of the catalog that nobody can read, not even root, beside one with a good template."""
    root = tmp_path / ("x" * 300) if request.param == "a name that is too long" else tmp_path / "loop"
    if root.name == "loop":
        root.symlink_to(root)
    folder.rmdir()
    settings.CATALOG_DIRS = [tmp_path, root]
    return root


def test_a_folder_of_the_catalog_that_can_not_be_read_hides_no_other_and_is_named(unreadable_root, caplog):
    assert [each["id"] for each in holder(ApiScope.READ).get("/templates").json()] == ["good"]
    assert "A folder of the catalog can't be read" in caplog.messages
    assert inspect_source(template="good", config=None).problems == []
    [problem] = inspect_source(template="other", config=None).problems
    assert problem.code == "unknown_template"
    assert problem.message.endswith(
        f"Known templates: good. These folders of the catalog can't be read: {unreadable_root}."
    )
    assert str(unreadable_root) in by_check()


def test_a_template_is_refused_while_an_earlier_folder_of_the_catalog_that_may_have_it_can_not_be_read(
    unreadable_root, settings
):
    settings.CATALOG_DIRS = [unreadable_root, *settings.CATALOG_DIRS[:1]]
    [problem] = inspect_source(template="good", config=None).problems
    assert problem.message == (
        f"An earlier folder of the catalog may have a template good, too, but can't be read: {unreadable_root}. "
        "Let Slipway read it, or take it out of CATALOG_DIRS."
    )
    [listed] = holder(ApiScope.READ).get("/templates").json()
    assert (listed["id"], listed["problem"]) == ("good", problem.message)


def test_no_runtime_is_called_unknown_while_a_folder_of_the_catalog_can_not_be_read(unreadable_root):
    answer = holder(ApiScope.OPERATE).post("/workspaces/preflight", {"config": "runtime: mine"})
    assert answer.json()["warnings"] == []
    create = {"name": "x", "template": "good"}
    assert holder(ApiScope.OPERATE).post("/workspaces", create).status_code == 201
