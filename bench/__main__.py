"""Every benchmark: `python -m bench [--json]`, or one suite by its name, such as `python -m bench.fanout`."""

from bench import fanout, launch, sweep
from bench.harness import main

# Before the sweep's, which leaves a million rows behind.
main((*fanout.SUITES, *launch.SUITES, *sweep.SUITES))
