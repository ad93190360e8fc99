"""The list of all kinds of channels. To add one, see docs/how-to/add-a-channel.md."""

from events.channels.base import Kind
from events.channels.chat.kind import CHAT
from events.channels.email.kind import EMAIL
from events.channels.log.kind import LOG
from events.channels.redis_stream.kind import REDIS_STREAM
from events.channels.webhook.kind import WEBHOOK

# In the order in which the admin offers them.
KINDS = {kind.name: kind for kind in (WEBHOOK, CHAT, EMAIL, REDIS_STREAM, LOG)}


class UnknownKind(LookupError):
    """No kind has this name. Another version of Slipway may have created the channel."""


def kind_of(name: str) -> Kind:
    """Return the kind with this name. Raises UnknownKind."""
    try:
        return KINDS[name]
    except KeyError:
        raise UnknownKind(f"There is no kind of channel {name!r}. Known kinds: {', '.join(KINDS)}.") from None
