"""Health, readiness, metrics and system checks."""
