"""The operators' HTTP API for workspaces: routes, schemas, the JSON of a workspace."""
