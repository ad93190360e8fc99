"""Sends secret values through everything that can fail, and finds them wherever they are stored or leave the process.

What to look for is written here anew, without the code that masks.
"""

import html
import io
import json
import logging
import sys
import threading
from base64 import b64encode, urlsafe_b64encode
from contextlib import contextmanager, suppress
from tempfile import NamedTemporaryFile
from urllib.parse import quote, quote_plus

import redis
from django.conf import settings
from django.contrib.admin import site
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from psycopg import sql

from config.log_format import FieldsFormatter
from events import ephemeral, relay
from events.delivery.deliverer import deliver_all_due
from events.masking.credentials import AGENT_TOKEN_PREFIX
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.events.channels.factories import channel, mattermost, webhook
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.access.poison_deliveries import KEYS, receivers_repeat
from tests.workspaces.factories import booting, config_for, later, online, queued, running_on
from workspaces.access import secrets
from workspaces.access.secret_sets import create_set
from workspaces.access.tokens import random_text
from workspaces.configuration import preflight as preflight_module
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.preflight import PreflightFailed, Report
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import ApiScope, Launch, Workspace
from workspaces.operations import pause, remove, restart
from workspaces.provisioners.base import ProvisionerError
from workspaces.services.core.secret_changes import set_secrets
from workspaces.services.launching import launch as launch_service
from workspaces.services.stopping.teardown import tear_down
from workspaces.services.watching.crash_recovery import restart_crashed
from workspaces.services.watching.last_look import take_last_looks
from workspaces.services.watching.sweep import sweep_stuck
from workspaces.services.watching.watch import watch_boots, watch_online

# What is looked for: a part of each line of each value. Most spellings escape the characters around them.
CORES = {
    owner: [f"{owner}-{number}-{digits}" for number, digits in enumerate(("7f3a91c4e2", "b85d06fa17"), start=1)]
    for owner in ("own", "shared", "global", "replaced")
}
VALUES = {owner: f'p"ss/w+rd {first}é\n\\x&{second}=<' for owner, (first, second) in CORES.items()}


def spellings(value):
    """Return the ways in which programs print a value."""
    raw = value.encode()
    yield from (value, quote(value, safe=""), quote_plus(value), json.dumps(value), repr(value), html.escape(value))
    yield from (b64encode(raw).decode(), urlsafe_b64encode(raw).decode(), b64encode(b"ab" + raw + b"c").decode())
    yield raw.hex()
    for line in value.splitlines():
        yield from (line, b64encode(line.encode()).decode())


def needles():
    """Return what must not be found, each with its meaning."""
    found = {}
    for owner, cores in (CORES | KEYS).items():
        for core in cores:
            found[core] = f"{owner} as it is"
            found[core.encode().hex()] = f"{owner} in hexadecimal"
            for before in range(3):
                # Without the characters at both ends, which hold bits of what is beside it.
                found[b64encode(bytes(before) + core.encode()).decode()[4:-4]] = f"{owner} in Base64"
    return found


NEEDLES = needles()
STREAM = f"{settings.REDIS_PREFIX}poison"
# Published behind all others.
LAST = b"the last message"
TEXTS = [spelling for value in VALUES.values() for spelling in spellings(value)]
POISON = " | ".join(TEXTS)


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
        stored = [*postgres_texts(), *redis_texts(), *((where, text) for where, text in self.told if "log" in where)]
        found = {
            (where, why) for where, text in [*stored, *self.told] for needle, why in NEEDLES.items() if needle in text
        }
        found |= {(where, "a token") for where, text in stored for token in self.tokens if token in text}
        everything = [*stored, *self.told]
        return sorted(
            found | {(where, "a credential") for where, text in everything for each in self.credentials if each in text}
        )

    def browser(self):
        """Return a signed-in browser."""
        return signed_in()

    def run(self, *arguments, value=""):
        """Run a command and keep what it says."""
        run(self, *arguments, value=value)


def bearer(caller):
    """Return a caller's credential."""
    return caller.headers["Authorization"].removeprefix("Bearer ")


def postgres_texts():
    """Yield each table and its rows as text."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(sql.SQL("SELECT row::text FROM {} AS row").format(sql.Identifier(table)))
            for (text,) in cursor.fetchall():
                yield f"table {table}", text


def redis_texts():
    """Yield each key of the tests' Redis and what it holds."""
    readers = {
        b"string": lambda client, key: client.get(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"set": lambda client, key: client.smembers(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1),
        b"hash": lambda client, key: client.hgetall(key),
        b"stream": lambda client, key: client.xrange(key),
        # It has expired since it was listed.
        b"none": lambda client, key: None,
    }
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter(f"{settings.REDIS_PREFIX}*"):
            yield f"redis {key.decode()}", repr(readers[client.type(key)](client, key))


@contextmanager
def listening(world):
    """Keep what is logged and what is published to browsers while the block runs."""
    stream = io.StringIO()
    handler, lines = logging.StreamHandler(stream), logging.StreamHandler(stream)
    handler.setFormatter(FieldsFormatter())
    # The lines of the log channel go no further than its own logger.
    handlers = [(logging.getLogger(), handler), (logging.getLogger("events.channels.log.kind"), lines)]
    for logger, each in handlers:
        logger.addHandler(each)
    ends = threading.Event()
    ephemeral._publisher = ephemeral._Publisher()
    with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as subscription:
        subscription.subscribe(ephemeral.redis_channel())
        assert subscription.get_message(timeout=PATIENCE_SECONDS)["type"] == "subscribe"

        def listen():
            while not ends.is_set():
                if message := subscription.get_message(timeout=0.1):
                    world.tell("live", message["data"])

        def is_all_heard():
            # Each time anew, since what Redis does not take in time is dropped.
            ephemeral._publisher.publish([LAST])
            return ("live", LAST.decode()) in world.told

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
            wait_until(is_all_heard)
        finally:
            ends.set()
            thread.join()
            for logger, each in handlers:
                logger.removeHandler(each)
    world.tell("server log", stream.getvalue())


def spread(world, monkeypatch, paths=None):
    """Send the values through these paths; through every one if none is given."""
    set_secrets({"SHARED": "overridden by the set", "GLOBAL": VALUES["global"]}, by="root")
    create_set("poisoned")
    channels(world)
    with listening(world):
        set_secrets({"SHARED": VALUES["shared"]}, secret_set="poisoned", by="root")
        everything = agents_report, boots_fail, backends_fail, calls_are_refused, receivers_repeat, the_log_can_not_read
        for path in paths or everything:
            path(world, monkeypatch)
        relay.number_all()
        deliver_all_due()
    # Without a mask, most is found by now, and to read everything takes long.
    if paths is None or not world.leaks():
        with listening(world):
            pages_are_read(world)
    for request in world.receiver.received:
        world.tell("webhook or chat", request.body)
    for mail in world.mails.mails:
        world.tell("e-mail", mail.replace(b"=\r\n", b""))


def poisoned(make, **fields):
    """Return a workspace that has all of the secrets, one of them in a set; one was replaced while it ran."""
    workspace = make(secrets={"OWN": VALUES["replaced"]}, secret_sets=["poisoned"], **fields)
    set_secrets({"OWN": VALUES["own"]}, workspace_id=workspace.pk, by="root")
    workspace.refresh_from_db()
    return workspace


def channels(world):
    """Make a channel of each kind that sends what it gets."""
    webhook(world.receiver.url)
    channel("chat", {"url": mattermost(world.receiver)})
    channel("email", {"recipients": "ops@example.com", "subject_prefix": ""})
    channel("log", {"level": "WARNING"})
    channel("redis_stream", {"url": settings.REDIS_URL, "stream": STREAM, "max_length": 9999})


def agents_report(world, monkeypatch):
    """An agent says everything that it can say, in each spelling."""
    agent, up = AgentCaller(poisoned(booting)), AgentCaller(poisoned(online))
    world.credentials += [bearer(agent), bearer(up)]
    keys = " | ".join(world.credentials)
    for text in [*TEXTS, bearer(agent), bearer(up), bearer(world.admin), b64encode(bearer(up).encode()).decode()]:
        world.answered(agent.progress(step=f"at {text} .", detail=f"at {text} ."))
        world.answered(up.beat(current_task=f"at {text} .", active_tasks=1, sample_error=f"at {text} .", error_rate=0))
    world.answered(up.beat(error_rate=0.9, sample_error=POISON))
    world.answered(up.beat(error_rate=0, runtime_state="wedged", sample_error=POISON))
    world.answered(up.beat(runtime_metadata={"capabilities": {POISON[:50]: True, "text": POISON}}))
    card = {"name": "a", "skills": [{POISON: POISON}], "text": POISON}
    world.answered(up.post("/registry/update-card", {"workspace_id": str(up.workspace.pk), "agent_card": card}))
    world.answered(agent.register(agent_card=card))
    world.answered(agent.register(url=f"http://localhost:9/?key={quote(VALUES['own'], safe='')}"))
    for text in (
        f"u:{VALUES['own']}@localhost",
        f"localhost:{CORES['own'][0]}",
        f"{CORES['own'][0]}\u2100.example.com",
    ):
        world.answered(agent.register(url=f"http://{text}/"))
    # The names of environment variables have letters and digits only.
    missing = {"code": "missing_env", "missing": [f"K{value.encode().hex()}" for value in VALUES.values()]}
    for fields in ({"error": POISON + keys}, {"error": "It broke.", "log_tail": POISON + keys}, missing):
        world.answered(AgentCaller(poisoned(booting)).failed(**fields))
    for fields in ({"error": POISON}, {"error": "x", "log_tail": POISON}):
        path = f"/admin/workspaces/{poisoned(booting).pk}/bootstrap-failed"
        world.answered(world.watcher.post(path, fields))


def boots_fail(world, monkeypatch):
    """Launches fail before, in and after the call of their backend."""

    report = Report(warnings=[Diagnostic(code="unknown_key", message=POISON, path=POISON, hint=POISON)])

    def refuse(workspace):
        raise PreflightFailed(FailureCode.BAD_CONFIG, POISON, report=Report(), missing=[], source=None)

    with monkeypatch.context() as patched:
        patched.setattr(launch_service, "preflight", refuse)
        launch(poisoned(queued))
    for error in (ProvisionerError(POISON), RuntimeError(POISON)):
        with failing(world.fake, "start", error), monkeypatch.context() as patched:
            patched.setattr(preflight_module, "examine", lambda checked, **asked: report)
            launch(poisoned(queued))
    stuck = poisoned(booting)
    world.fake.append_log(running_on(world.fake, stuck), f"SLIPWAY-BOOTSTRAP-FAILED: {TEXTS[1]}\n{POISON}\n")
    world.answered(world.admin.get(f"/workspaces/{stuck.pk}/console"))
    world.answered(world.admin.get(f"/workspaces/{stuck.pk}/logs"))
    watch_boots(clock=database_now)
    ended = poisoned(booting)
    world.fake.simulate_exit(running_on(world.fake, ended), exit_code=1, log_tail=POISON)
    watch_boots(clock=database_now)
    late = poisoned(booting)
    world.fake.append_log(running_on(world.fake, late), POISON)
    take_last_looks(clock=lambda: later(late, minutes=9), policy=Policy())
    unseen = poisoned(booting)
    running_on(world.fake, unseen)
    with failing(world.fake, "inspect", ProvisionerError(POISON)):
        take_last_looks(clock=lambda: later(unseen, minutes=9), policy=Policy())
    sweep_stuck(now=later(late, minutes=11), policy=Policy())


def backends_fail(world, monkeypatch):
    """Backends fail, and processes end, after a launch."""
    for error in (ProvisionerError(POISON), RuntimeError(POISON)):
        up = poisoned(online)
        running_on(world.fake, up)
        with failing(world.fake, "inspect", error):
            watch_online(clock=database_now)
            world.answered(world.admin.get(f"/workspaces/{up.pk}/console"))
            world.answered(world.admin.get(f"/workspaces/{up.pk}/logs"))
        pause(up.pk)
        with failing(world.fake, "stop", error):
            tear_down(launch_id=up.launch_id, now=database_now())
        assert Launch.objects.get(pk=up.launch_id).teardown_error
        gone = poisoned(online)
        running_on(world.fake, gone)
        remove(gone.pk)
        with failing(world.fake, "stop", error):
            tear_down(launch_id=gone.launch_id, now=database_now())
    # What was replaced while it was stopped is in the log of its last launch.
    stopped = poisoned(online)
    world.fake.append_log(running_on(world.fake, stopped), POISON)
    pause(stopped.pk)
    tear_down(launch_id=stopped.launch_id, now=database_now())
    set_secrets({"OWN": "another value"}, workspace_id=stopped.pk, by="root")
    secrets.delete_unused_retired_secrets()
    crashed = poisoned(online)
    world.fake.simulate_exit(running_on(world.fake, crashed), exit_code=1, log_tail=POISON)
    watch_online(clock=database_now)
    crashed.refresh_from_db()
    restart_crashed(now=crashed.restart_due_at)


def the_log_can_not_read(world, monkeypatch):
    """Something logs a token in a message, which should be constant, while the log can't read the secrets."""

    def away(line):
        raise DatabaseError

    with monkeypatch.context() as patched:
        patched.setattr(FieldsFormatter, "mask", away)
        logging.getLogger("workspaces").error(f"no access with {world.forgotten[0]}")


@contextmanager
def failing(fake, call, error):
    """Let each of these calls of the backend raise."""

    def before(name, key):
        if name == call:
            raise error

    fake.before_call = before
    try:
        yield
    finally:
        fake.before_call = lambda name, key: None


def launch(workspace):
    launch_service.launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)


def calls_are_refused(world, monkeypatch):
    """Operators send secrets, rightly and wrongly."""
    own, value = f"/workspaces/{poisoned(online).pk}", VALUES["own"]
    bad_secrets = [{"key": "1X", "value": value}, {"key": "PORT", "value": value}, {"secrets": {"X": [value]}}]
    bad_secrets += [{"secrets": value}, {"key": "X", "value": {"x": value}}, {"key": "X", "values": value}]
    for path in (f"{own}/secrets", "/settings/secrets", "/settings/secret-sets/poisoned"):
        for body in bad_secrets:
            world.answered(put(world.admin, path, body))
    new = {"name": "w", "config": config_for("echo")}
    bad_fields = [
        {"secrets": {"PORT": value}},
        {"env_file": f"X={value}\nbad line {value}"},
        {"secrets": {"X": [value]}},
    ]
    bad_fields += [
        {"secrets": {"X": value}, "external": True, "config": None, "url": f"http://localhost:9/{quote(value)}"}
    ]
    for fields in bad_fields:
        world.answered(world.admin.post("/workspaces", new | fields))
    half = f'{{"key": "X", "value": {json.dumps(value)}'
    world.answered(world.admin.client.put(f"{own}/secrets", half, "application/json", headers=world.admin.headers))
    headers = {**world.admin.headers, "Idempotency-Key": "k"}
    for _ in range(2):
        body = new | {"secrets": {"X": value}, "secret_sets": ["poisoned"]}
        world.answered(world.admin.client.post("/workspaces", body, "application/json", headers=headers))
    headers["Idempotency-Key"] = "of an external one"
    made = world.admin.client.post("/workspaces", {"name": "e", "external": True}, "application/json", headers=headers)
    world.tokens.append(made.json()["connection"]["auth_token"])
    browser = signed_in()
    for name in ("OK", "1X"):
        world.answered(browser.post(reverse("admin:workspaces_secret_add"), {"name": name, "value": value}))
    form = {"config": "name: [", "secrets": f"X='{value}'"}
    world.answered(browser.post(reverse("admin:workspaces_workspace_add"), form))
    for name in ("OK", "1X"):
        run(world, "secret", "set", name, value=value)
    preflights_are_read(world, value)
    for workspace in Workspace.objects.filter(status="failed"):
        # Its message for the worker is in Redis.
        restart(workspace.pk)


def preflights_are_read(world, value):
    """Env files, right and wrong, in preflights and a launch."""
    quoted = f"X='{value}'\n"
    for env_file in (quoted, f"{quoted}bad line {value}\n", f'X="{value}', f"{value}={value}", f"PORT='{value}'"):
        for extra in ("", "runtime_config: {required_env: [X]}\n", "nam: [\n"):
            body = {"config": config_for("echo", extra), "env_file": env_file, "secrets": {"Y": value}}
            world.answered(world.admin.post("/workspaces/preflight", body))
        with NamedTemporaryFile("w", suffix=".env") as env, NamedTemporaryFile("w", suffix=".yaml") as config:
            for file, text in ((env, env_file), (config, config_for("echo"))):
                file.write(text)
                file.flush()
            for form in ("text", "json", "github"):
                run(world, "preflight", config.name, "--env-file", env.name, "--format", form)
            run(world, "launch", "echo", "--name", "from a file", "--env-file", env.name)


def put(caller, path, body):
    return caller.client.put(path, body, content_type="application/json", headers=caller.headers)


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


def signed_in():
    user, _ = get_user_model().objects.get_or_create(username="root", is_staff=True, is_superuser=True)
    browser = Client(raise_request_exception=False)
    browser.force_login(user)
    return browser


def pages_are_read(world):
    """Read everything that shows workspaces, launches, events and secrets."""
    paths = ["/workspaces?include_removed=true", "/settings/secrets", "/settings/secret-sets", "/events?limit=500"]
    paths += ["/settings/secret-sets/poisoned", "/metrics", "/launches", "/incidents", "/channels", "/templates"]
    addresses = []
    for model in site._registry:
        page = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        addresses.append(reverse(f"{page}_changelist"))
        addresses += [reverse(f"{page}_change", args=[row.pk]) for row in model._default_manager.all()[:200]]
    parts = ("secrets", "state", "budget", "usage", "metrics", "tokens", "console", "logs", "launches", "preflight")
    for workspace in Workspace.objects.all():
        own = f"/workspaces/{workspace.pk}"
        paths += [own, *(f"{own}/{part}" for part in parts), f"/events/{workspace.pk}"]
    for path in paths:
        world.answered(world.admin.get(path))
    browser = signed_in()
    for address in addresses:
        world.answered(browser.get(address))
    commands = ("workspaces", "secret list", "workspaces --format json", "channel list --format json", "incidents")
    for arguments in map(str.split, (*commands, "api_key list", "secret rotate-keys", "deadlines", "prune")):
        run(world, *arguments)
    assert secrets.readable_values(set())
