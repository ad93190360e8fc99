"""The project's settings with the stream alone, for the tests' own server."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.events.stream_urls"
