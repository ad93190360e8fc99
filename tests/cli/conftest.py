"""The command `slipway` in this process, against a real server on the test's own database."""

import io
import json
import os
import subprocess
import sys
from collections import namedtuple
from contextlib import contextmanager

import keyring
import pytest
import yaml
from django.conf import settings
from keyring.backend import KeyringBackend
from keyring.backends.null import Keyring as NoKeyring
from slipway.app import main

from tests.waiting import wait_until
from workspaces.access.api_keys import mint_api_key
from workspaces.models import ApiScope

Ended = namedtuple("Ended", "code out err")
ALL_SCOPES = [ApiScope.READ, ApiScope.OPERATE, ApiScope.ADMIN]


class Keyring(KeyringBackend):
    """A keyring that protects what it keeps, as far as the command can tell."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.kept = {}

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def delete_password(self, service, username):
        del self.kept[service, username]


class Cli:
    """Runs commands of one user, who has a folder for profiles and keys."""

    def __init__(self, patch, capsys, folder):
        self.patch, self.capsys, self.folder = patch, capsys, folder

    def __call__(self, *arguments, stdin=""):
        """Run a command as the shell would, and return its exit code and what it wrote."""
        self.patch.setattr(sys, "argv", ["slipway", *map(str, arguments)])
        self.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode(errors="surrogateescape"))))
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(end.value.code or 0, *self.capsys.readouterr())

    def ok(self, *arguments, stdin=""):
        """Run a command that has to succeed, and return its output."""
        ended = self(*arguments, stdin=stdin)
        assert ended.code == 0, ended
        return ended.out

    def json(self, *arguments):
        """Return what a command tells scripts, the same in JSON and in YAML."""
        answer = json.loads(self.ok(*arguments, "-o", "json"))
        assert yaml.safe_load(self.ok(*arguments, "-o", "yaml")) == answer
        return answer

    def sign_in(self, url, *scopes, profile="default"):
        """Sign in with a new key of these scopes, and return the key."""
        key = new_key(*scopes)
        self.ok("--profile", profile, "login", url, stdin=key)
        return key

    @contextmanager
    def running(self, *arguments, stdout=None):
        """Run a command in a process of its own that goes on. Gives the lines that it writes, unless to `stdout`."""
        environment = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR / "cli"), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "slipway", *map(str, arguments)]
        out, err = self.folder / "out", self.folder / "err"
        with out.open("w") as out_file, err.open("w") as err_file:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout or out_file, stderr=err_file
            )
            try:
                yield Following(process, out, err)
            finally:
                process.kill()
                process.wait()


class Following:
    """A command that goes on."""

    def __init__(self, process, out, err):
        self.process, self._out, self._err = process, out, err

    @property
    def lines(self):
        return self._out.read_text().splitlines()

    @property
    def errors(self):
        return self._err.read_text()

    def wait_for(self, holds):
        wait_until(lambda: holds(self), describe=lambda: f"{self.lines}\n{self.errors}")


def new_key(*scopes):
    return mint_api_key(name="script", scopes=[scope.value for scope in scopes or ALL_SCOPES])[1]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """The command of a user who is not signed in and has no keyring."""
    for name in ("SLIPWAY_URL", "SLIPWAY_KEY", "SLIPWAY_PROFILE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_CONFIG_DIR", str(tmp_path / "slipway"))
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    yield Cli(monkeypatch, capsys, tmp_path)
    keyring.set_keyring(before)


@pytest.fixture
def signed_in(cli, live_server):
    """The command of an operator with every scope."""
    cli.sign_in(live_server.url)
    return cli
