"""Health, readiness, metrics, system checks."""
