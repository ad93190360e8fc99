"""The backends that run workspaces, one folder each, and what they have in common."""
