"""The kinds of channels that there are. Another kind is another module and one line here."""

from events.channels.base import Kind
from events.channels.chat.kind import KIND as CHAT
from events.channels.email.kind import KIND as EMAIL
from events.channels.log.kind import KIND as LOG
from events.channels.redis_stream.kind import KIND as REDIS_STREAM
from events.channels.webhook.kind import KIND as WEBHOOK

KINDS: dict[str, Kind] = {kind.name: kind for kind in (WEBHOOK, CHAT, EMAIL, REDIS_STREAM, LOG)}


class UnknownKind(LookupError):
    """No kind has this name: the channel was made by another version of Slipway."""


def kind_of(name: str) -> Kind:
    """Return the kind. Raises UnknownKind."""
    try:
        return KINDS[name]
    except KeyError:
        raise UnknownKind(f"There is no kind of channel {name!r}. Known kinds: {', '.join(KINDS)}.") from None
