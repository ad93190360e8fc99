"""The API for running workspaces and their watchers: registering, heartbeats, progress, failures, discovery."""
