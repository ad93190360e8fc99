"""Statuses, the table of transitions, and all that is made from it: trigger, diagram, migrations."""
