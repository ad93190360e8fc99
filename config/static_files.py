"""The addresses of static files below a path prefix."""

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.urls import get_script_prefix


class PrefixedStaticFiles(StaticFilesStorage):
    """Puts the prefix of the present request before a file's address. Django would keep that of the first one."""

    def url(self, name: str | None) -> str:
        """Return the path of a file."""
        return get_script_prefix().rstrip("/") + super().url(name)
