"""Channels and deliveries in the admin."""
