"""Statuses and transitions, and what is generated from them: the trigger, its migrations and the diagram."""
