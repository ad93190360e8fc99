"""What runs by itself: the sweep, the watcher, heartbeat limits, crash recovery, outages."""
