"""What Slipway adds to Django's Postgres: enums, clock, LISTEN, advisory locks, lookups, SQL files, encryption."""
