"""The sweep, the watcher, outages, mass lateness, crash recovery."""
