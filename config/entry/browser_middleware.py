"""Django's middlewares for browsers, which an agent's report passes by: nothing is called as often as a heartbeat.

The CSRF middleware is not among them, since Django's checks look for its name.
"""

from os.path import isdir
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseMiddleware

# Agents show a token and have no session; see registry/api.py and registry/heartbeat.py.
_OF_AGENTS = "/registry/"


class PassedByAgents:
    """Passes an agent's request on as it is. The views of agents don't ask who is signed in."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith(_OF_AGENTS):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class StaticFiles(PassedByAgents, WhiteNoiseMiddleware):
    """Static files, from the packages. What `collectstatic` has collected is served too, but nothing needs to be."""

    def add_files(self, root: str, prefix: str | None = None) -> None:
        """Add the files of a folder. WhiteNoise would warn if there is none."""
        if isdir(root):
            super().add_files(root, prefix)


class Sessions(PassedByAgents, SessionMiddleware):
    """Sessions of signed-in operators."""


class Users(PassedByAgents, AuthenticationMiddleware):
    """The signed-in user of a request."""


class Messages(PassedByAgents, MessageMiddleware):
    """Messages that the next page shows."""
