"""Events on their way from the outbox to all listeners: log, relay, channels, live streams."""
