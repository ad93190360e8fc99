"""Operators who send secrets, rightly and wrongly, by the API, the admin and commands; and who read every page."""

import json
from tempfile import NamedTemporaryFile
from urllib.parse import quote

from django.contrib.admin import site
from django.urls import reverse

from tests.workspaces.access.poison.markers import VALUES
from tests.workspaces.access.poison.world import poisoned, put, run, signed_in
from tests.workspaces.factories import config_for, online
from workspaces.access import secrets
from workspaces.models import Workspace
from workspaces.operations import restart


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
