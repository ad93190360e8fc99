"""Events to everyone: `python -m bench.fanout [--json]`."""

from bench import fanout_relay, fanout_streams
from bench.harness import Suite, main

SUITES: list[Suite] = [fanout_relay.measure, fanout_streams.measure]

if __name__ == "__main__":
    main(SUITES)
