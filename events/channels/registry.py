"""The kinds of channels that there are. Another kind is another module and one line here."""

from events.channels import chat, email, log, redis_stream, webhook
from events.channels.base import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (webhook.KIND, chat.KIND, email.KIND, redis_stream.KIND, log.KIND)
}


class UnknownKind(LookupError):
    """No kind has this name: the channel was made by another version of Slipway."""


def kind_of(name: str) -> Kind:
    """Return the kind. Raises UnknownKind."""
    try:
        return KINDS[name]
    except KeyError:
        raise UnknownKind(f"There is no kind of channel {name!r}. Known kinds: {', '.join(KINDS)}.") from None
