"""No value is in what the processes of a real installation print, store or send: `make up` with its own servers."""

import io
import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
from cryptography.fernet import Fernet
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from devserver import children
from devserver.console import Console
from devserver.ownership import read_owner
from tests.events.channels.mail_server import mail_server
from tests.events.channels.receivers import receiving
from tests.events.conftest import PATIENT
from tests.journeys.test_up import PROJECT, machine, up
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.access.poison import stores
from tests.workspaces.access.poison.broken_app import BROKEN, NOT_SEEN, NOT_STARTED, UNMASKED
from tests.workspaces.access.poison.deliveries import repeat, repeat_login
from tests.workspaces.access.poison.markers import CHAT, HEADER, MAIL, POISON, TEXTS, URL, VALUES

__all__ = ["machine", "up"]

pytestmark = pytest.mark.journey
# What a workspace prints: its variables in every spelling.
SPELL = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
from tests.workspaces.access.poison.markers import spellings
for name in ("OWN", "SHARED", "GLOBAL"):
    for text in spellings(os.environ[name]):
        print(text)
"""
# What the workspaces do, by name.
RUNS = {
    "serves": "command: [sh, -c, '{spell}; sleep 600']",
    "crashes": "command: [sh, -c, '{spell}; sleep 1; {spell} >&2; exit 3']",
    "fails to boot": "boot: [{{step: install, run: '{spell}; exit 3'}}]",
    "says why": "boot: [{{step: wait, run: 'sleep 600'}}]",
    "is watched": "boot: [{{step: wait, run: 'sleep 600'}}]",
    NOT_STARTED: "command: [sleep, '600']",
    NOT_SEEN: "boot: [{{step: wait, run: '{spell}; sleep 600'}}]",
    "misses a variable": "required_env: [OWN, MISSING]",
}
ENDS = {"crashes": "offline"} | dict.fromkeys(("fails to boot", "says why", "is watched", NOT_STARTED), "failed")
MASKED = "••••••"


class Installation:
    """A running `make up` with its operator. It keeps what clients are told, as (where, text)."""

    def __init__(self, run, environment, *, receiver, wrong):
        self.run, self.receiver, self.wrong = run, receiver, wrong
        self.folder, self.told = Path(environment["DATA_DIR"]), []
        command = [sys.executable, "manage.py", "api_key", "create", "poison", "--scope", "admin", "--scope", "watch"]
        pipes = {"capture_output": True, "text": True, "timeout": PATIENCE_SECONDS, "check": True}
        made = subprocess.run([*command, "--format", "json"], cwd=PROJECT, env=environment, **pipes)
        self.key = json.loads(made.stdout)["key"]
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{run.port}", timeout=PATIENCE_SECONDS, trust_env=False, headers=bearer(self.key)
        )

    def call(self, method, path, body=None, **options):
        """Call the API and keep the answer."""
        answer = self.client.request(method, path, json=body, **options)
        self.told.append((f"answer to {method} {path}", f"{answer.headers} {answer.text}"))
        return answer

    def done(self, *arguments, **options):
        """Call the API, which must not refuse it, and return the answer."""
        answer = self.call(*arguments, **options)
        assert answer.is_success, answer.text
        return answer.json()

    def follow(self, path, accept):
        """Keep what is written to a followed log, until it ends."""
        headers, query = {"Accept": accept}, {"follow": "true"}
        with (
            suppress(httpx.HTTPError),
            self.client.stream("GET", path, headers=headers, params=query) as answer,
        ):
            for text in answer.iter_text():
                self.told.append((f"followed log, {accept}", text))

    def hear(self):
        """Keep what the WebSocket sends, until it is closed."""
        address = f"ws://127.0.0.1:{self.run.port}/ws?after=0"
        with (
            suppress(ConnectionClosed),
            connect(address, additional_headers=bearer(self.key), proxy=None, **PATIENT) as client,
        ):
            for message in client:
                self.told.append(("WebSocket", message))

    def status_of(self, workspace):
        return self.client.get(f"/workspaces/{workspace}").json()["status"]


def bearer(credential):
    return {"Authorization": f"Bearer {credential}"}


@pytest.fixture
def world(request, machine, up):
    """A running installation, with receivers that repeat what they are sent."""
    with receiving() as receiver, mail_server() as mails:
        receiver.answer, mails.login_answer = repeat, repeat_login
        machine |= {"SWEEP_INTERVAL_SECONDS": "1", "AGENT_STOP_SECONDS": "1", "DELIVERY_FLOOD_SECONDS": "1"}
        machine |= {"DELIVERY_ALLOW_PRIVATE": "127.0.0.0/8"}
        machine |= {"EMAIL_URL": f"smtp://mailer:{MAIL}@127.0.0.1:{mails.port}"}
        machine |= {"DJANGO_SETTINGS_MODULE": "tests.workspaces.access.poison.broken_settings"}
        machine |= {UNMASKED: getattr(request, "param", "")}
        run = up("--no-first-workspace")
        with wrong_environments(machine) as wrong:
            run.wait_for("Ctrl-C stops everything.")
            world = Installation(run, machine, receiver=receiver, wrong=wrong)
            with world.client:
                yield world


@contextmanager
def wrong_environments(machine):
    """Start processes whose variables are wrong in a way, and yield what they print."""
    console = Console(io.StringIO())
    keys = {"SECRET_KEY": "x" * 50, "SECRETS_KEYS": Fernet.generate_key().decode()}
    servers = {"DATABASE_URL": "postgres://slipway@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    (sweep, *_), web = children.workers(console=console), children.web(port=1, console=console)
    cases = [
        (children.relay(console=console), {"DATABASE_URL": f"postgres://slipway:{HEADER}@127.0.0.1:1/none"}),
        (sweep, {"REDIS_URL": f"redis://:{HEADER}@127.0.0.1:1/0"}),
        (web, {"SECRETS_KEYS": HEADER}),
        (children.deliver(console=console), {"REDIS_URL": f"redis://:{HEADER}@127.0.0.1:none/0"}),
        (children.beat(console=console), {"EMAIL_URL": f"smtp://mailer:{HEADER}@127.0.0.1:none"}),
    ]
    for child, wrong in cases:
        child.environment = {**machine, "PYTHONPATH": str(PROJECT), **keys, **servers, **wrong}
        child.console = Console(output := io.StringIO())
        child.output = output
        child.spawn()
    try:
        yield [child for child, _ in cases]
    finally:
        for child, _ in cases:
            child.kill()


def make_secrets_and_channels(world):
    """Give the installation secrets of each kind, and channels whose receivers repeat them."""
    world.done("PUT", "/settings/secrets", {"key": "GLOBAL", "value": VALUES["global"]})
    world.done("PUT", "/settings/secret-sets/poisoned", {"key": "SHARED", "value": VALUES["shared"]})
    hook = {"is_https_only": False, "headers": {"Authorization": f"Bearer {HEADER}"}}
    chat = f"mmost://127.0.0.1:{world.receiver.server_address[1]}/{CHAT}"
    kinds = [("webhook", hook | {"url": f"{world.receiver.url}/{URL}/{status}"}) for status in (200, 500, 410, BROKEN)]
    kinds += [("chat", {"url": chat}), ("log", {"level": "INFO"}), ("email", {"recipients": "ops@example.com"})]
    for number, (kind, options) in enumerate(kinds):
        made = world.client.post("/channels", json={"name": f"{kind} {number}", "kind": kind, "options": options})
        assert made.status_code == 201, made.text
        world.call("POST", f"/channels/{made.json()['id']}/test")


def launch(world, script):
    """Launch the workspaces, and return their IDs by name."""
    script.write_text(SPELL)
    found = {}
    for name, run in RUNS.items():
        run_config = run.format(spell=f"{sys.executable} {script}")
        config = f'name: "{name}"\nruntime: echo\nruntime_config: {{{run_config}}}\n'
        own = {"secrets": {"OWN": VALUES["replaced"]}, "secret_sets": ["poisoned"]}
        found[name] = world.done("POST", "/workspaces", {"name": name, "config": config, **own})["id"]
    return found


def report(world, ids):
    """Agents repeat everything, also what was replaced while they run, and so does a watcher."""
    for own in ids.values():
        world.done("PUT", f"/workspaces/{own}/secrets", {"key": "OWN", "value": VALUES["own"]})
    up, booting = (
        bearer(world.client.post(f"/workspaces/{ids[name]}/tokens").json()["auth_token"])
        for name in ("serves", "says why")
    )
    of_it, fails = {"workspace_id": ids["serves"]}, {"workspace_id": ids["says why"]}
    for text in TEXTS:
        beat = {"current_task": f"at {text} .", "active_tasks": 1, "sample_error": f"at {text} .", "error_rate": 0.9}
        world.call("POST", "/registry/heartbeat", of_it | beat, headers=up)
        world.call("POST", "/registry/progress", fails | {"step": f"at {text} .", "detail": text}, headers=booting)
    world.call("POST", "/registry/update-card", of_it | {"agent_card": {"text": POISON}}, headers=up)
    broken = world.call("POST", "/registry/update-card", of_it | {"agent_card": {BROKEN: POISON}}, headers=up)
    assert broken.status_code == 500
    world.call("POST", "/registry/heartbeat", {"workspace_id": POISON, POISON: POISON}, headers=up)
    broken = {"code": "crashed", "error": POISON, "log_tail": POISON}
    world.done("POST", "/registry/failed", fails | broken, headers=booting)
    watched = f"/admin/workspaces/{ids['is watched']}/bootstrap-failed"
    world.done("POST", watched, {"error": POISON, "log_tail": POISON})


def send_wrongly(world, ids):
    """An operator sends secrets wrongly, and with credentials that are none."""
    own, value = f"/workspaces/{ids['serves']}", VALUES["own"]
    for body in ({"key": "1X", "value": value}, {"key": "PORT", "value": value}, {"key": "X", "values": value}):
        for path in (f"{own}/secrets", "/settings/secrets", "/settings/secret-sets/poisoned"):
            assert world.call("PUT", path, body).status_code == 422
    for fields in ({"secrets": {"PORT": value}}, {"env_file": f"X={value}\nbad line {value}"}):
        assert world.call("POST", "/workspaces", {"name": "w", "config": "runtime: echo", **fields}).is_client_error
    for path in (own, f"{own}/logs", "/ws", "/events/stream", "/registry/heartbeat", "/admin/login/"):
        world.call("POST", path, headers=bearer(HEADER))
        world.call("GET", path, headers=bearer(HEADER))


def read(world, ids):
    """Read what shows workspaces, their logs and events."""
    for path in ("/workspaces", "/events?limit=500", "/launches", "/incidents", "/channels", "/metrics"):
        world.call("GET", path)
    for own in ids.values():
        for part in ("", "/console", "/logs", "/launches", "/preflight", "/secrets"):
            world.call("GET", f"/workspaces/{own}{part}")


def stored_texts(world):
    """Return what Postgres and Redis hold."""
    owner = read_owner(world.folder)
    with psycopg.connect(owner.database_url) as connection, redis.Redis.from_url(owner.redis_url) as client:
        return [*stores.postgres_texts(connection.cursor()), *stores.redis_texts(client)]


def is_about_values(text):
    """Return whether a text holds a value, masked or not."""
    return MASKED in text or bool(stores.found_in([("", text)]))


def empty_tables(world):
    """Return the tables to which no value has come yet."""
    texts = stored_texts(world)
    wanted = ("events_delivery", "events_event", "workspaces_workspace", "workspaces_heartbeat")
    return [
        name for name in wanted if not any(where == f"table {name}" and is_about_values(text) for where, text in texts)
    ]


def silent_processes(world):
    """Return those of the processes that fail which have not printed the error yet."""
    lines = [line for line in world.run.output.splitlines() if is_about_values(line) and '{"id"' not in line]
    return [name for name in ("web", "launch", "sweep", "deliver") if not any(line.startswith(name) for line in lines)]


def spread(world, script):
    """Let everything repeat the values, and return what the processes printed until their end, stored and sent."""
    make_secrets_and_channels(world)
    ids = launch(world, script)
    threads = [threading.Thread(target=world.hear)]
    for name in ("serves", "crashes", "fails to boot"):
        for accept in ("text/plain", "text/event-stream"):
            threads.append(threading.Thread(target=world.follow, args=(f"/workspaces/{ids[name]}/logs", accept)))
    for thread in threads:
        thread.start()
    wait_until(lambda: world.status_of(ids["serves"]) == "online")
    report(world, ids)
    send_wrongly(world, ids)
    for name, status in ENDS.items():
        wait_until(lambda name=name, status=status: world.status_of(ids[name]) == status)
    read(world, ids)
    wait_until(lambda: not empty_tables(world), describe=lambda: empty_tables(world))
    wait_until(lambda: not silent_processes(world), describe=lambda: world.run.output)
    stored = stored_texts(world)
    world.run.stop(signal.SIGINT)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    printed = [("what up prints", world.run.output)]
    printed += [
        (f"what {child.name} prints with a wrong environment", child.output.getvalue()) for child in world.wrong
    ]
    sent = [("webhook or chat", request.body.decode()) for request in world.receiver.received]
    return printed, stored, [*world.told, *sent]


def credentials(world):
    """Yield what nothing may print, store in a table or send, each with its meaning."""
    yield world.key, "the API key"
    for name in ("secret_key", "secrets_keys", "postgres/password", "redis/password"):
        yield (world.folder / name).read_text(), name
    for path in world.folder.glob("workspaces/*/launches/*/config/.auth_token"):
        yield path.read_text(), "an agent's token"


def test_no_value_is_printed_stored_or_sent_by_a_whole_installation(world, tmp_path):
    printed, stored, sent = spread(world, tmp_path / "spell.py")
    texts = [*printed, *stored, *sent]
    assert sorted(stores.found_in([*texts, *stores.file_texts(world.folder)])) == []
    assert {(where, why) for where, text in texts for each, why in credentials(world) if each in text} == set()
    # Each file is of a known kind, and the values were there to be found.
    files = list(stores.files_below(world.folder))
    raw = [name for name in files if stores.RAW_FILES.fullmatch(name)]
    assert [name for name in files if name not in raw and not stores.OTHER_FILES.fullmatch(name)] == []
    assert {why for _, why in stores.found_in((name, (world.folder / name).read_text()) for name in raw)} >= {
        f"{owner} {form}" for owner in ("replaced", "shared", "global") for form in ("as it is", "in Base64")
    }
    assert [where for where, text in [*printed, *sent] if not text] == []
    told = {where for where, text in world.told if MASKED in text}
    assert {where for where in told if "follow" in where or "WebSocket" in where} == {
        "WebSocket",
        "followed log, text/plain",
        "followed log, text/event-stream",
    }


# Uses of a mask, and where a value is found without it.
PLACES = {
    "workspaces.access.log_masking:mask_line mask": "what up prints",
    "events.delivery.masking_sender:MaskingSender._masking mask": "what up prints",
    "events.delivery.masking_sender:MaskingSender._kept mask_all": "table events_delivery",
    "registry.heartbeat:columns_of mask_strings": "WebSocket",
    "workspaces.api.diagnosis.logs:read_part mask_log_lines": "followed log, text/event-stream",
    "workspaces.services.launching.fail:masked_reason mask_log_tail": "table workspaces_workspace",
    "workspaces.services.watching.crash_recovery:mark_dead_offline mask_log_tail": "webhook or chat",
}


@pytest.mark.soak
@pytest.mark.parametrize(("world", "place"), PLACES.items(), indirect=["world"])
def test_without_a_mask_an_installation_prints_stores_or_sends_a_value(world, place, tmp_path):
    printed, stored, sent = spread(world, tmp_path / "spell.py")
    assert place in {where for where, _ in stores.found_in([*printed, *stored, *sent])}
