"""Run the benchmarks of relay, delivery and live streams: `python -m bench.fanout [--json]`."""

from bench.fanout import relay, streams
from bench.harness import Suite, main

SUITES: list[Suite] = [relay.measure, streams.measure]

if __name__ == "__main__":
    main(SUITES)
