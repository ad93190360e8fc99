"""config.yaml, the catalog, preflight."""
