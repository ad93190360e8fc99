"""Benchmarks of the way of an event from the commit to its readers: relay, claims, webhooks, live streams."""
