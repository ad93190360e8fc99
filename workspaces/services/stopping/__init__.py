"""Pausing, hibernating, removing, shutting down, and the teardown of backend objects."""
