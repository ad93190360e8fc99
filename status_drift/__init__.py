"""The drift gate: proves that code, migrations and the live database agree on every status."""
