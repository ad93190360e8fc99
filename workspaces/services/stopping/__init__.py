"""Pause, hibernate, remove, shutdown, and the teardown of backend objects."""
