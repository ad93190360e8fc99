"""Events from the outbox to everyone who listens: relay, channels, live streams."""
