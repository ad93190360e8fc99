"""Every benchmark: `python -m bench [--json]`, or one suite by its name, such as `python -m bench.fanout`."""

from bench import launch, sweep
from bench.fanout import relay, streams
from bench.harness import main

# Before the sweep's, which leaves a million rows behind.
main((relay.measure, streams.measure, *launch.SUITES, *sweep.SUITES))
