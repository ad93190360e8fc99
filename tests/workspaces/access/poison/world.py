"""Keeps what leaves the process, finds the values in it and in what is stored, and makes those that have them."""

import io
import sys
from contextlib import contextmanager, suppress

import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client

from events.masking.credentials import AGENT_TOKEN_PREFIX
from tests.callers import holder
from tests.workspaces.access.poison.markers import VALUES
from tests.workspaces.access.poison.stores import file_texts, found_in, postgres_texts, redis_texts
from workspaces.access.tokens import random_text
from workspaces.models import ApiScope
from workspaces.services.core.secret_changes import set_secrets

STREAM = f"{settings.REDIS_PREFIX}poison"


class World:
    """Holds what has left the process, as (where, text)."""

    def __init__(self, fake, receiver, mails):
        self.fake, self.receiver, self.mails = fake, receiver, mails
        self.told = []
        # Tokens that answers may show once, and that nothing may store in clear.
        self.tokens = []
        # Those that may be found nowhere.
        self.credentials = []
        self.admin, self.watcher = holder(ApiScope.ADMIN), holder(ApiScope.WATCH)
        self.forgotten = [AGENT_TOKEN_PREFIX + random_text()]
        self.credentials += [*self.forgotten, *(bearer(each) for each in (self.admin, self.watcher))]

    def tell(self, where, text):
        self.told.append((where, text if isinstance(text, str) else text.decode(errors="replace")))

    def answered(self, answer):
        """Keep an HTTP answer."""
        self.tell(f"answer to {answer.request['PATH_INFO']}", answer.content)
        self.tell(f"headers of {answer.request['PATH_INFO']}", str(answer.headers))
        return answer

    def leaks(self):
        """Return where something that must not be found is found: (where, what)."""
        with connection.cursor() as cursor, redis.Redis.from_url(settings.REDIS_URL) as client:
            stored = [*postgres_texts(cursor), *redis_texts(client, settings.REDIS_PREFIX)]
        stored += file_texts(settings.DATA_DIR)
        stored += [(where, text) for where, text in self.told if "log" in where]
        found = found_in([*stored, *self.told])
        found |= {(where, "a token") for where, text in stored for token in self.tokens if token in text}
        everything = [*stored, *self.told]
        return sorted(
            found | {(where, "a credential") for where, text in everything for each in self.credentials if each in text}
        )


def bearer(caller):
    """Return a caller's credential."""
    return caller.headers["Authorization"].removeprefix("Bearer ")


def poisoned(make, **fields):
    """Return a workspace that has all of the secrets, one of them in a set; one was replaced while it ran."""
    workspace = make(secrets={"OWN": VALUES["replaced"]}, secret_sets=["poisoned"], **fields)
    set_secrets({"OWN": VALUES["own"]}, workspace_id=workspace.pk, by="root")
    workspace.refresh_from_db()
    return workspace


def signed_in():
    user, _ = get_user_model().objects.get_or_create(username="root", is_staff=True, is_superuser=True)
    browser = Client(raise_request_exception=False)
    browser.force_login(user)
    return browser


def run(world, *arguments, value=""):
    """Run a command with this standard input."""
    out = io.StringIO()
    with suppress(CommandError, SystemExit), standard_input(value):
        try:
            call_command(*arguments, stdout=out, stderr=out)
        except CommandError as error:
            out.write(str(error))
            raise
        finally:
            world.tell(f"manage.py {arguments[0]}", out.getvalue())


@contextmanager
def standard_input(text):
    earlier, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(text.encode()))
    try:
        yield
    finally:
        sys.stdin = earlier


def put(caller, path, body):
    return caller.client.put(path, body, content_type="application/json", headers=caller.headers)
