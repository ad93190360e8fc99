"""`manage.py preflight`: what it prints in each format, and its exit codes."""

import errno
import io
import json
import os
import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from workspaces.access.secrets import put_secrets
from workspaces.configuration import availability
from workspaces.workers import NoWorker

SECRET = "hunter2-hunter2"
BAD = "name: 5\nruntime: echo\nprompt_files: [a.md]\nenv:\n  required: [A_KEY, B_KEY]\n"


def run(*arguments, code=0):
    out = io.StringIO()
    if code:
        with pytest.raises(SystemExit) as ended:
            call_command("preflight", *map(str, arguments), stdout=out)
        assert ended.value.code == code
    else:
        call_command("preflight", *map(str, arguments), stdout=out)
    assert SECRET not in out.getvalue()
    return out.getvalue()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(BAD)
    return path


@pytest.fixture
def env_file(tmp_path):
    path = tmp_path / "my.env"
    path.write_text(f"# mine\nA_KEY={SECRET}\nB_KEY=changeme\n")
    return path


def test_a_good_file_exits_with_0_without_a_database(config, env_file):
    config.write_text(BAD.replace("5", "mine").replace("changeme", SECRET))
    (config.parent / "a.md").touch()
    env_file.write_text(f"A_KEY={SECRET}\nB_KEY={SECRET}\n")
    assert run(config, "--env-file", env_file) == "0 problems, 0 warnings.\n"
    assert run(config.parent, "--env-file", env_file, "--format", "github") == ""


def test_every_problem_stands_in_a_line_with_file_line_and_column(config, env_file):
    assert run(config, code=1).splitlines() == [
        f"{config}:1:1: error: name: must be text, not a number. [wrong_type]",
        f"{config}:5:14: error: Missing required environment variable A_KEY. Add it to this workspace's secrets or to "
        "the global secrets, then restart. [missing_env]",
        f"{config}:5:21: error: Missing required environment variable B_KEY. Add it to this workspace's secrets or to "
        "the global secrets, then restart. [missing_env]",
        f"{config}:3:1: warning: prompt_files: these files are not beside config.yaml, so the workspace does not get "
        "them: 'a.md'. [missing_file]",
        "3 problems, 1 warning.",
    ]
    lines = run(config, "--env-file", env_file, code=1).splitlines()
    assert f"{env_file}:3:1: warning: The value of B_KEY looks like a placeholder" in lines[2]
    assert lines[-1] == "1 problem, 2 warnings."


def test_json_has_the_findings_and_their_files(config, env_file):
    report = json.loads(run(config, "--env-file", env_file, "--format", "json", code=1))
    assert report["ok"] is False
    [problem] = report["problems"]
    assert problem == {
        "code": "wrong_type",
        "path": "name",
        "line": 1,
        "column": 1,
        "message": "name: must be text, not a number.",
        "hint": "",
        "file": str(config),
    }
    assert {each["file"] for each in report["warnings"]} == {str(config), str(env_file)}


def test_github_gets_annotations_that_no_name_can_break_out_of(tmp_path):
    folder = tmp_path / "a,b%c"
    folder.mkdir()
    (folder / "config.yaml").write_text('"x\\n::error::y%": 1\n"name": 5\n')
    lines = run(folder, "--format", "github", code=1).splitlines()
    where = f"{tmp_path}/a%2Cb%25c/config.yaml"
    assert lines[0] == f"::error file={where},line=2,col=1,title=wrong_type::name: must be text, not a number."
    assert lines[1].startswith(f"::warning file={where},line=1,col=1,title=unknown_key::'x\\n::error::y%25': ")
    assert len(lines) == 2


def test_a_bad_line_of_the_env_file_is_a_problem_that_repeats_nothing(config, env_file):
    env_file.write_text(f"A_KEY={SECRET}\n{SECRET}\nB_KEY= \n")
    config.write_text(BAD.replace("5", "mine"))
    lines = run(config, "--env-file", env_file, code=1).splitlines()
    assert f"{env_file}:2:1: error: Line 2 is not NAME=VALUE: it has no equals sign. [bad_env_file]" in lines
    assert any("B_KEY" in line and "missing_env" in line for line in lines)


def test_github_gets_the_lines_of_the_env_file(config, env_file):
    env_file.write_text(f"{SECRET}\nA_KEY=\nB_KEY=changeme\n")
    lines = run(config, "--env-file", env_file, "--format", "github", code=1).splitlines()
    assert f"::error file={env_file},line=1,col=1,title=bad_env_file::Line 1 is not NAME=VALUE: it has no" in lines[-4]
    assert lines[-2].startswith(f"::warning file={env_file},title=not_set::Not set, because the env file")
    assert lines[-1].startswith(f"::warning file={env_file},line=3,col=1,title=suspicious_value::The value of B_KEY")


@pytest.mark.parametrize("option", [[], ["--env-file"]], ids=["file", "env file"])
def test_a_file_that_is_too_large_is_a_problem_and_a_huge_one_is_not_read(config, env_file, option):
    large = env_file if option else config
    large.write_text("A_KEY=" + "x" * 300_000)
    assert "larger than 256 KiB" in run(config, *option, *([large] if option else []), code=1)
    large.write_text("A_KEY=" + "x" * 2**20)
    with pytest.raises(CommandError, match="larger than 1024 KiB") as refused:
        run(config, *option, *([large] if option else []))
    assert refused.value.returncode == 2


def test_a_prompt_file_with_a_name_that_no_file_can_have_is_not_there(config):
    config.write_text(f"name: mine\nruntime: echo\nprompt_files: [{'n' * 300}, a.md]\n")
    (config.parent / "a.md").touch()
    warning, numbers = run(config).splitlines()
    assert "[missing_file]" in warning
    assert "a.md" not in warning
    assert numbers == "0 problems, 1 warning."


UNREADABLE = {
    "no such file": "no-such.yaml",
    "a name that is too long": "n" * 300,
    "a path that is too long": "n/" * 5000,
    "a NUL": "a\0b",
    "beneath a file": "{config}/beneath",
    "a link to itself": "{loop}",
    "a folder without one": "{folder}",
}


@pytest.mark.parametrize("name", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("option", [[], ["{config}", "--env-file"]], ids=["file", "env file"])
def test_a_file_that_cannot_be_read_exits_with_2(config, option, name):
    loop, folder = config.parent / "loop", config.parent / "folder"
    loop.symlink_to(loop)
    folder.mkdir()
    with pytest.raises(CommandError, match=r"can't be read: .+\.$") as refused:
        run(*[each.format(config=config, loop=loop, folder=folder) for each in [*option, name]])
    assert refused.value.returncode == 2
    assert "\0" not in str(refused.value)


def test_a_file_in_a_folder_that_may_not_be_entered_exits_with_2(config, monkeypatch):
    def refuse(path, *arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    # Root may enter any folder.
    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CommandError, match="can't be read: Permission denied") as refused:
        call_command("preflight", str(config))
    assert refused.value.returncode == 2


def test_github_gets_a_file_name_that_is_not_text(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.yaml")
    path.write_text("name: 5\n")
    assert run(path, "--format", "github", code=1).encode().startswith(b"::error file=")


def test_a_pipe_is_read_to_its_end(config):
    pipe = config.parent / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_text, args=["name: 5\n"])
    writing.start()
    assert f"{pipe}:1:1: error: name: must be text" in run(pipe, code=1)
    writing.join()


@pytest.mark.django_db
def test_with_here_it_counts_global_secrets_and_asks_for_a_worker(config, monkeypatch):
    def no_worker(queue):
        raise NoWorker(f"No {queue} worker is alive.")

    availability.cache.clear()
    monkeypatch.setattr(availability, "require_worker", no_worker)
    config.write_text(BAD.replace("5", "mine"))
    put_secrets({"A_KEY": SECRET, "B_KEY": SECRET}, workspace_id=None)
    lines = run(config, "--here", code=1).splitlines()
    availability.cache.clear()
    assert lines[0] == f"{config}: error: No launch worker is alive. [no_worker]"
    assert lines[-1] == "1 problem, 1 warning."
