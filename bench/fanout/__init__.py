"""Events to everyone: relay, claims, webhooks, live streams."""
