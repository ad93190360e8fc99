#!/usr/bin/env python
"""Slipway's command line; without DATABASE_URL or REDIS_URL it runs on embedded servers (devserver/servers)."""

import sys

if __name__ == "__main__":
    try:
        # Here, since the imports take half a second, in which Ctrl-C is as good as later.
        from devserver.commandline import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)
