"""Services that run periodically: sweep, watcher, heartbeat limits, crash recovery, outages of our own."""
