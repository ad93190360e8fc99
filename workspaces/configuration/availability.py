"""Whether launches can start now: the backend answers, and a worker is alive that launches."""

from django.core.cache import cache

from workspaces.configuration.diagnostics import Diagnostic
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.base import ProvisionerError
from workspaces.workers import LAUNCH_QUEUE, NoWorker, require_worker

# Asking the workers takes a second, and several callers may ask at once.
_KEEP_ANSWER_SECONDS = 5
_CACHE_KEY = "slipway.preflight.no_worker"


def unavailable(backend: str) -> list[Diagnostic]:
    """Return why no launch can start now: its backend does not answer, or no worker is alive that launches."""
    found = []
    try:
        guarded_calls.call(
            backend,
            "list for preflight",
            "all",
            lambda adapter: adapter.running_launches(),
            seconds=guarded_calls.LOOK_SECONDS,
        )
    except ProvisionerError as error:
        message = f"The backend {backend} is not available: {error}"
        hint = "Correct what it names, or ask whoever runs Slipway."
        found.append(Diagnostic(code="backend_unavailable", message=message, hint=hint))
    no_worker = cache.get(_CACHE_KEY)
    if no_worker is None:
        no_worker = why_no_worker()
        cache.set(_CACHE_KEY, no_worker, _KEEP_ANSWER_SECONDS)
    if no_worker:
        found.append(Diagnostic(code="no_worker", message=no_worker))
    return found


def why_no_worker() -> str:
    """Return the sentence that says why no launch worker takes this launch, "" if one does. Takes a second or more."""
    try:
        require_worker(LAUNCH_QUEUE)
    except NoWorker as error:
        return str(error)
    return ""
