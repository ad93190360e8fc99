"""Logs that clients follow while a launch writes secrets to them."""

import asyncio
import threading

from asgiref.testing import ApplicationCommunicator

from config.stream_access import require_log_reader
from tests.callers import AgentCaller
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.access.poison.markers import POISON
from tests.workspaces.access.poison.world import poisoned
from tests.workspaces.factories import booting, running_on
from workspaces.api.diagnosis.log_streams import LogLimits, LogStreams

# Each part of a log, followed as plain text and as server-sent events.
WAYS = {
    f"followed log, {stream or 'whole'}, {kind}": (stream, kind)
    for stream in ("", "boot", "agent")
    for kind in ("text/plain", "text/event-stream")
}


def logs_are_followed(world, monkeypatch):
    """A launch writes secrets as it boots, while it is online and when it ends."""
    workspace = poisoned(booting)
    key = running_on(world.fake, workspace)
    thread = threading.Thread(target=lambda: asyncio.run(follow_each(world, workspace)))
    thread.start()
    world.fake.append_log(key, f"{POISON}\nbooted\n")
    wait_until_all_have_read(world, "boot", text="booted")
    AgentCaller(workspace).register()
    world.fake.append_log(key, f"{POISON}\nserving\n")
    wait_until_all_have_read(world, "agent", text="serving")
    world.fake.simulate_exit(key, exit_code=1, log_tail=f"{POISON}\nthe end")
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def wait_until_all_have_read(world, part, *, text):
    """Wait until those that follow the whole log or this part of it have got this text."""
    ways = {where for where, (stream, _) in WAYS.items() if stream in {"", part}}
    wait_until(lambda: ways <= {where for where, told in list(world.told) if text in told})


async def follow_each(world, workspace):
    await asyncio.gather(*(follow(world, workspace, *way, where=where) for where, way in WAYS.items()))


async def follow(world, workspace, stream, kind, *, where):
    """Keep each part of a followed log until it ends."""
    headers = {"host": "localhost", "accept": kind, **world.admin.headers}
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": f"/workspaces/{workspace.pk}/logs",
        "query_string": b"follow=true" + (f"&stream={stream}".encode() if stream else b""),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }
    application = LogStreams(authorize=require_log_reader, limits=LogLimits(poll_seconds=0.05))
    client = ApplicationCommunicator(application, scope)
    await client.send_input({"type": "http.request", "body": b"", "more_body": False})
    started = await client.receive_output(PATIENCE_SECONDS)
    assert started["status"] == 200
    is_over = False
    while not is_over:
        message = await client.receive_output(PATIENCE_SECONDS)
        is_over = not message.get("more_body")
        if message["body"]:
            world.tell(where, message["body"])
    await client.wait(PATIENCE_SECONDS)
