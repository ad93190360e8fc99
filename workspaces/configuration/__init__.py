"""The configuration of a workspace: config.yaml, the catalog, env files, preflight."""
