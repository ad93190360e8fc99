"""Deliveries: claims, order, retries."""
