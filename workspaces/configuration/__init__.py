"""What a workspace is configured with: config.yaml, the catalog, env files, preflight."""
