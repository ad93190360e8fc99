"""Deliveries: from a positioned event to the channels, with claims, retries and grouping."""
