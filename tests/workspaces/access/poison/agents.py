"""Agents and watchers that repeat secrets in everything that they report."""

from base64 import b64encode
from urllib.parse import quote

from tests.callers import AgentCaller
from tests.workspaces.access.poison.markers import CORES, POISON, TEXTS, VALUES
from tests.workspaces.access.poison.world import bearer, poisoned
from tests.workspaces.factories import booting, online


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
