"""What Slipway adds to Django's Postgres: native enums, the database's clock, LISTEN, lookups, encrypted text."""
