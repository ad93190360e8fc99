"""Workspaces in the admin."""
