"""Webhooks: signed HTTP requests."""
