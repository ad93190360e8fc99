"""Every benchmark: `python -m bench [--json]`, or one suite by its name, such as `python -m bench.fanout`."""

from bench import fanout, sweep
from bench.harness import main

main((*fanout.SUITES, *sweep.SUITES))
