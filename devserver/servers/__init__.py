"""Embedded Postgres and Redis, which run if DATABASE_URL or REDIS_URL is unset."""
