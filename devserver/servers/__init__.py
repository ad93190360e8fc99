"""The embedded Postgres and Redis."""
