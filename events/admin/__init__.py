"""The admin's pages for events, channels and deliveries. Django loads them from here."""

from events.admin import channels, deliveries, events

__all__ = ["channels", "deliveries", "events"]
