"""Django's database backend for Postgres with our changes: the setting ENGINE names this package."""
