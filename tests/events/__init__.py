"""The outbox, the relay, the catalogue and the log of events."""
