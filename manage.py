#!/usr/bin/env python
"""Slipway's command line; without DATABASE_URL or REDIS_URL it runs on embedded servers (config/local.py)."""

from config.commandline import main

if __name__ == "__main__":
    main()
