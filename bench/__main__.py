"""Run every benchmark: `python -m bench [--json]`. Run a single suite by its name: `python -m bench.fanout`."""

from bench import api, heartbeat, launch, sweep
from bench.fanout import relay, streams
from bench.harness import main

# The sweep's suite comes last because it leaves a million rows behind.
main((relay.measure, streams.measure, *heartbeat.SUITES, *api.SUITES, *launch.SUITES, *sweep.SUITES))
