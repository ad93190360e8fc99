"""A live client that reconnects from its last position whenever its stream ends, as a browser does."""

import json
import threading

import httpx

from tests.waiting import PATIENCE_SECONDS

_PAUSE_SECONDS = 0.2


class LiveListener(threading.Thread):
    """Keeps all events in `events` and counts its streams in `opened`."""

    def __init__(self, *, port, key, position):
        super().__init__(daemon=True)
        self.events = []
        self.opened = 0
        self._began_at = self._position = position
        self._address = f"http://127.0.0.1:{port}/events/stream"
        self._authorization = f"Bearer {key}"
        self._is_over = threading.Event()

    def run(self):
        while not self._is_over.is_set():
            try:
                self._listen()
            except httpx.HTTPError:
                self._is_over.wait(_PAUSE_SECONDS)

    def stop(self):
        self._is_over.set()
        self.join(30)

    def has_received(self, count):
        """Return whether all events of the producer have arrived."""
        return sum("number" in each["payload"] for each in self.events) >= count

    def check(self, count):
        """Check that every event arrived once, in the order of the log."""
        assert [each["position"] for each in self.events] == [
            self._began_at + place for place in range(1, len(self.events) + 1)
        ]
        numbers = [each["payload"]["number"] for each in self.events if "number" in each["payload"]]
        assert sorted(numbers) == list(range(count))

    def _listen(self):
        headers = {"Authorization": self._authorization, "Last-Event-ID": str(self._position)}
        # The timeout is far longer than the interval of keep-alives.
        with httpx.stream("GET", self._address, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False) as response:
            response.raise_for_status()
            self.opened += 1
            self._read(response.iter_lines())

    def _read(self, lines):
        position, event = self._position, None
        for line in lines:
            if self._is_over.is_set():
                return
            field, _, value = line.partition(": ")
            if field == "id":
                position = int(value)
            elif field == "data":
                event = json.loads(value)
            elif not line:
                # A block is complete at the empty line. A block without data only moves the position.
                self._position = position
                self.events += [event] if event and event["event"] != "KEEP_ALIVE" else []
                event = None
