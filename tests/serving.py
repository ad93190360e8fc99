"""Run a server of the standard library in a thread."""

import threading
from contextlib import contextmanager

from tests.waiting import PATIENCE_SECONDS


@contextmanager
def serving(server):
    """Serve for the duration of the block, then close the server."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_SECONDS)
