"""Events to everyone: `python -m bench.fanout [--json]`."""

from bench import fanout_relay
from bench.harness import Suite, main

SUITES: list[Suite] = [fanout_relay.measure]

if __name__ == "__main__":
    main(SUITES)
