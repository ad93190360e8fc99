"""The admin's pages of events, channels and deliveries; Django looks for them here."""

from events.admin.events import EventAdmin

__all__ = ["EventAdmin"]
