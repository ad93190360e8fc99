"""Workspaces: their lifecycle, configuration, access, services, backends, API and admin."""
