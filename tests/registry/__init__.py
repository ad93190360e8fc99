"""What agents and watchers report, over HTTP."""
