"""Remembers what was found in the words of a text, since most readings of a text consist of the same ones."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

# So many times the text's length is searched at most. Only a text that is made for it has more different words.
_MOST_TIMES = 4
_FEW_CHARACTERS = 4096


class KnownRuns:
    """What was found in the words, or runs of digits, of all readings of one text. Each is searched once."""

    def __init__(self, text: str) -> None:
        """Take the text, which tells how many characters are searched."""
        self._most = _FEW_CHARACTERS + _MOST_TIMES * len(text)
        self._characters: dict[object, int] = defaultdict(int)
        self._found: dict[object, dict[str, list[tuple[int, int]]]] = defaultdict(dict)

    def spans_in(
        self,
        text: str,
        pattern: re.Pattern[str],
        search: Callable[[Sequence[str]], Iterable[tuple[int, int, int]]],
        *,
        kind: object = None,
    ) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of what `search` finds in the matches; it returns the number of the match, start and end.

        What is of another kind is searched in another way.
        """
        found, runs = self._found[kind], set(pattern.findall(text))
        new = sorted(runs - found.keys())
        if new and self._characters[kind] <= self._most:
            self._characters[kind] += sum(map(len, new))
            found.update((run, []) for run in new)
            for number, start, end in search(new):
                found[new[number]].append((start, end))
        if any(found.get(run) for run in runs):
            for match in pattern.finditer(text):
                yield from ((match.start() + start, match.start() + end) for start, end in found.get(match.group(), ()))
