"""What is looked for: values of secrets in every spelling. It is written here anew, without the code that masks."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

# What is looked for: a part of each line of each value. Most spellings escape the characters around them.
CORES = {
    owner: [f"{owner}-{number}-{digits}" for number, digits in enumerate(("7f3a91c4e2", "b85d06fa17"), start=1)]
    for owner in ("own", "shared", "global", "replaced")
}
# Of channels and of the mail server.
URL, HEADER, MAIL = "Zu8kLm2Qx7RtPw4s", "Vh5nBc9Ydf3TgKe6", "Qa1wSx2eDc3rFv4t"
CHAT = "c0ffee7f3a91c4e2b85d06fa17d00d11"
KEYS = {"channel": [URL, HEADER, CHAT], "mail": [MAIL]}
VALUES = {owner: f'p"ss/w+rd {first}é\n\\x&{second}=<' for owner, (first, second) in CORES.items()}


def spellings(value):
    """Return the ways in which programs print a value."""
    raw = value.encode()
    yield from (value, quote(value, safe=""), quote_plus(value), json.dumps(value), repr(value), html.escape(value))
    yield from (b64encode(raw).decode(), urlsafe_b64encode(raw).decode(), b64encode(b"ab" + raw + b"c").decode())
    yield raw.hex()
    for line in value.splitlines():
        yield from (line, b64encode(line.encode()).decode())


def needles():
    """Return what must not be found, each with its meaning."""
    found = {}
    for owner, cores in (CORES | KEYS).items():
        for core in cores:
            found[core] = f"{owner} as it is"
            found[core.encode().hex()] = f"{owner} in hexadecimal"
            for before in range(3):
                # Without the characters at both ends, which hold bits of what is beside it.
                found[b64encode(bytes(before) + core.encode()).decode()[4:-4]] = f"{owner} in Base64"
    return found


NEEDLES = needles()
TEXTS = [spelling for value in VALUES.values() for spelling in spellings(value)]
POISON = " | ".join(TEXTS)
