"""What running workspaces and watchers report."""
