"""The codes of refusals, as docs/reference/api.md lists them."""

import re

from django.conf import settings


def documented_codes():
    """Return the codes of each status: `{404: {"not_found"}, …}`."""
    codes = {}
    for line in (settings.BASE_DIR / "docs/reference/api.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and re.fullmatch(r"\d{3}(, \d{3})*", cells[1]):
            for status in cells[1].split(", "):
                codes.setdefault(int(status), set()).update(re.findall(r"`(\w+)`", cells[2]))
    return codes
