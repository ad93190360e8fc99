"""What Slipway adds to Django's Postgres."""
