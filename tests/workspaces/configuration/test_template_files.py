"""The files beside a template's config.yaml."""

import os
import stat

import pytest

from postgres.clock import database_now
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.configuration import catalog
from workspaces.configuration.preflight import PreflightFailed, preflight
from workspaces.configuration.template_files import MAX_BYTES, MAX_FILES
from workspaces.lifecycle.transitions import FailureCode
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.launching.launch import launch_spec

PROMPTS = ["SOUL.md", "BOOTSTRAP.md", "AGENTS.md", "HEARTBEAT.md", "TOOLS.md", "USER.md"]
CONFIG = f"name: claw\nprompt_files: [{', '.join(PROMPTS)}]\nruntime_config: {{command: exec sleep 600}}\n"


@pytest.fixture
def folder(settings, tmp_path):
    settings.CATALOG_DIRS = [tmp_path / "catalog"]
    made = tmp_path / "catalog" / "claw"
    made.mkdir(parents=True)
    (made / "config.yaml").write_text(CONFIG)
    return made


@pytest.fixture
def world(tmp_path):
    made = ProcessWorld(tmp_path / "workspaces")
    yield made
    made.clean_up()


def claw():
    return create(CreateRequest(template="claw"), now=database_now()).workspace


@pytest.mark.django_db
def test_a_launch_gets_every_file_of_its_templates_folder_as_it_is_now(folder, world):
    for name in PROMPTS:
        (folder / name).write_text(f"# {name}\n")
    (folder / "skills" / "search").mkdir(parents=True)
    (folder / "skills" / "search" / "Größe.bin").write_bytes(b"\0\xff")
    (folder / "CLAUDE.md").symlink_to("AGENTS.md")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    workspace = claw()
    (folder / "USER.md").write_text("edited since\n")
    spec = launch_spec(workspace, preflight(workspace), token="the-token")
    world.keys.append(spec.key)
    world.backend.start(spec)
    copied = world.folder(spec.key).config
    found = {path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()}
    written = {"config.yaml", "config.json", ".auth_token"}
    assert found == written | {*PROMPTS, "CLAUDE.md", "skills/search/Größe.bin"}
    assert (copied / "SOUL.md").read_text() == "# SOUL.md\n"
    assert (copied / "USER.md").read_text() == "edited since\n"
    assert (copied / "CLAUDE.md").read_text() == "# AGENTS.md\n"
    assert (copied / "skills" / "search" / "Größe.bin").read_bytes() == b"\0\xff"
    assert (copied / ".auth_token").read_text() == "the-token"


def too_many(folder):
    for number in range(MAX_FILES + 1):
        (folder / f"{number}.md").touch()


def too_large(folder):
    (folder / "a.bin").write_bytes(bytes(MAX_BYTES))
    (folder / "b.bin").write_bytes(b"!")


def outside(folder):
    return folder.parents[1]


def link_out(folder):
    (outside(folder) / "secret").write_text("root")
    (folder / "SOUL.md").symlink_to("../../secret")


def folder_out(folder):
    (outside(folder) / "private").mkdir()
    (folder / "skills").symlink_to("../../private")


BAD = {
    "too many files": (too_many, f"more than {MAX_FILES} files"),
    "too many folders": (lambda folder: [(folder / f"{n}").mkdir() for n in range(MAX_FILES + 2)], "more than"),
    "too many bytes": (too_large, "larger than 1024 KiB"),
    "one endless file": (lambda folder: os.truncate(str(make(folder / "x")), 2**40), "larger than 1024 KiB"),
    "a link that leads out": (link_out, "SOUL.md is a link that leads out of its folder"),
    "a folder that leads out": (folder_out, "skills is a link that leads out of its folder"),
    "a link to a device": (lambda folder: (folder / "x").symlink_to("/dev/zero"), "leads out"),
    "a link to nothing": (lambda folder: (folder / "x").symlink_to("gone"), "x can't be read"),
    "a link to itself": (lambda folder: (folder / "x").symlink_to("x"), "x can't be read"),
    "a FIFO": (lambda folder: os.mkfifo(folder / "x"), "x can't be read"),
    "a socket": (lambda folder: os.mknod(folder / "x", stat.S_IFSOCK), "x can't be read"),
    "a name of ours": (lambda folder: (folder / ".auth_token").write_text("forged"), ".auth_token has a name"),
    "a name that is not text": (lambda folder: make(folder / os.fsdecode(b"\xff.md")), "is not UTF-8"),
}


def make(path):
    path.touch()
    return path


@pytest.mark.parametrize("name", BAD)
@pytest.mark.django_db
def test_a_folder_that_cannot_be_copied_makes_its_template_bad_and_harms_no_other(name, folder):
    spoil, problem = BAD[name]
    workspace = claw()
    (folder.parent / "fine").mkdir()
    (folder.parent / "fine" / "config.yaml").write_text("name: fine\n")
    spoil(folder)
    bad, fine = catalog.list_templates()
    assert problem in bad.problem
    assert fine.problem == ""
    with pytest.raises(PreflightFailed) as refusal:
        preflight(workspace)
    assert refusal.value.code == FailureCode.BAD_CONFIG
    assert problem in str(refusal.value)
    with pytest.raises(InvalidWorkspace) as refused:
        claw()
    assert list(refused.value.fields) == ["template"]


@pytest.mark.django_db
def test_prompt_files_that_are_not_there_are_named_before_the_launch(folder):
    for name in PROMPTS[:5]:
        (folder / name).touch()
    [warning] = create(CreateRequest(template="claw"), now=database_now()).warnings
    assert str(warning).endswith("the workspace does not get them: 'USER.md' (line 2, column 1).")
    (folder / "USER.md").touch()
    assert create(CreateRequest(template="claw"), now=database_now()).warnings == []
    [warning] = create(CreateRequest(config="prompt_files: [./a.md, ../b.md]"), now=database_now()).warnings
    assert str(warning).endswith("'./a.md', '../b.md' (line 1, column 1).")
