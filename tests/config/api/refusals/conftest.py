from tests.config.api.refusals.world import world  # noqa: F401
