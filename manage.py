#!/usr/bin/env python
"""Slipway's command line. If DATABASE_URL or REDIS_URL is unset, it starts embedded servers (devserver/servers)."""

import sys

if __name__ == "__main__":
    try:
        # Imported here, since it takes half a second in which Ctrl-C must work too.
        from devserver.commandline import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)
