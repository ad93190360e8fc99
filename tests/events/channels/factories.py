"""Channels for tests, made as the admin's form makes them."""

from events.channels.registry import kind_of
from events.delivery.channel_operations import all_options, encrypted
from events.models import Channel


def channel(kind, options, **fields):
    """Return a stored channel with these options, each where it belongs."""
    form = kind_of(kind).form
    secret = {name: value for name, value in options.items() if name in form.sealed}
    secret |= kind_of(kind).initial_options()
    plain = {name: value for name, value in options.items() if name not in form.sealed}
    fields = {"name": f"{kind} {Channel.objects.count()}", **fields}
    return Channel.objects.create(kind=kind, options=plain, sealed_options=encrypted(secret), **fields)


def webhook(url, *, headers=None, **fields):
    """Return a channel to this address."""
    options = {"url": url, "headers": headers or {}, "is_https_only": False}
    return channel("webhook", options, **fields)


def signing_secret(stored):
    """Return what a webhook's receiver verifies with."""
    return str(all_options(stored)["signing"][0]["secret"])
