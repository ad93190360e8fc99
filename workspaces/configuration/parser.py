"""Parses the text of a config.yaml into a plain dict, or says what is wrong and in which line and column.

Plain values mean what the core schema of YAML 1.2 says: only `true` and `false` are booleans, and tags are refused.
Size, nesting and aliases are limited before any value is built, so no text can exhaust memory, the stack or the time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer

from agent import rules

MAX_CONFIG_BYTES = 256 * 1024
MAX_DEPTH = 40
# Far above any real file. A few lines of aliases to aliases could expand to billions of values or characters.
MAX_EXPANDED_NODES = 20_000
MAX_EXPANDED_CHARACTERS = 1024 * 1024
# A longer number can't be written as JSON again.
MAX_NUMBER_CHARACTERS = 1000
_SHOWN_PROBLEMS = 5
_SHOWN_WARNINGS = 10
_FORBIDDEN_CHARACTER = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|\r|\n")
# libyaml breaks lines at these, as YAML 1.1 does.
_OLD_LINE_BREAKS = "\x85\u2028\u2029"
_OTHER_BOOLEANS = frozenset({"yes", "no", "on", "off"})
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
# https://yaml.org/spec/1.2.2/#1032-tag-resolution; `<<` is kept from YAML 1.1.
_CORE_SCHEMA = {
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": ("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}


class BadConfig(ValueError):
    """The config.yaml can't be used; the message names the key, the line and the column."""


@dataclass(frozen=True, kw_only=True)
class CheckedConfig:
    """A config that can be used, and what is probably not meant in it, as sentences with line and column."""

    config: dict[str, Any]
    warnings: list[str]


def parse_config(text: str) -> dict[str, Any]:
    """Return the config as a dict of JSON's values. Raises BadConfig."""
    return check_config(text).config


def check_config(text: str) -> CheckedConfig:
    """Return the config in the shape that agent/rules.py requires, with warnings. Raises BadConfig.

    The values are those of JSON; numbers that JSON lacks, such as `.nan`, are text.
    """
    if len(text.encode(errors="replace")) > MAX_CONFIG_BYTES:
        raise BadConfig(f"config.yaml is larger than {MAX_CONFIG_BYTES // 1024} KiB.")
    if found := _FORBIDDEN_CHARACTER.search(text):
        lines = _LINE_BREAK.split(text[: found.start()])
        where = f"line {len(lines)}, column {len(lines[-1]) + 1}"
        raise BadConfig(f"config.yaml contains the character U+{ord(found[0]):04X}, which YAML forbids ({where}).")
    try:
        root = compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "it can't be parsed"
        raise BadConfig(f"config.yaml is not valid YAML: {reason}{f' ({place(mark)})' if mark else ''}.") from None
    except yaml.YAMLError as error:
        raise BadConfig(f"config.yaml is not valid YAML: {' '.join(str(error).split())}.") from None
    builder = JsonBuilder()
    config = builder.mapping(root)
    problems, unread_keys = rules.check_shape(config)
    if problems:
        raise BadConfig(" ".join(describe_problem(problem, root) for problem in problems[:_SHOWN_PROBLEMS]))
    warnings = list(dict.fromkeys(builder.warnings))
    warnings += [describe_problem(warning, root) for warning in unread_keys]
    return CheckedConfig(config=config, warnings=warnings[:_SHOWN_WARNINGS])


def compose(text: str) -> yaml.MappingNode:
    """Return the document's nodes, which are few and not nested too deep. Raises BadConfig, or what PyYAML raises."""
    loader = _BoundedLoader(text)
    try:
        root = loader.get_single_node()
    finally:
        loader.dispose()
    if not isinstance(root, yaml.MappingNode):
        raise BadConfig("config.yaml must be a mapping of keys to values (line 1, column 1).")
    check_size(root)
    return root


class _BoundedLoader(Composer, yaml.CSafeLoader):
    """Reads with libyaml and composes nodes in Python, so that each event is checked before anything is built of it."""

    def __init__(self, text: str) -> None:
        used = set(text)
        unused = islice((code for code in range(0x10FFFF, 0xFFFF, -1) if chr(code) not in used), len(_OLD_LINE_BREAKS))
        self._old_line_breaks = dict(zip(unused, _OLD_LINE_BREAKS, strict=True))
        stand_ins = {ord(character): code for code, character in self._old_line_breaks.items()}
        yaml.CSafeLoader.__init__(self, text.translate(stand_ins))
        Composer.__init__(self)
        self._depth = 0
        self._nodes = 0

    def get_event(self) -> Any:
        event: Any = super().get_event()
        if isinstance(event, yaml.CollectionStartEvent):
            self._depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            self._depth -= 1
        if isinstance(event, yaml.ScalarEvent):
            event.value = event.value.translate(self._old_line_breaks)
        self._nodes += isinstance(event, yaml.NodeEvent)
        if self._depth > MAX_DEPTH:
            raise _too_deep(event)
        if self._nodes > MAX_EXPANDED_NODES:
            where = place(event.start_mark)
            raise BadConfig(f"config.yaml has more than {MAX_EXPANDED_NODES} keys and values ({where}).")
        if getattr(event, "tag", None):
            tag = str(event.tag).replace(_TAG, "!!")[:60]
            where = place(event.start_mark)
            raise BadConfig(f"config.yaml has the tag {tag}. Tags are refused: write the value without it ({where}).")
        return event


_BoundedLoader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _CORE_SCHEMA.items():
    _BoundedLoader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern})\\Z"), _first)


class _Size(NamedTuple):
    """What a node is once its aliases are expanded."""

    nodes: int
    characters: int
    depth: int


def check_size(root: yaml.Node) -> None:
    """Raise BadConfig if the aliases expand to too much or too deep, or if one contains itself."""
    sizes: dict[int, _Size] = {}
    open_nodes: set[int] = set()

    def measure(node: yaml.Node) -> _Size:
        if id(node) in open_nodes:
            raise BadConfig(f"config.yaml has an alias that contains itself ({place(node.start_mark)}).")
        if id(node) in sizes:
            return sizes[id(node)]
        open_nodes.add(id(node))
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        parts = [measure(child) for child in children]
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        size = _Size(
            nodes=1 + sum(part.nodes for part in parts),
            characters=own + sum(part.characters for part in parts),
            depth=1 + max((part.depth for part in parts), default=0),
        )
        open_nodes.discard(id(node))
        if size.nodes > MAX_EXPANDED_NODES or size.characters > MAX_EXPANDED_CHARACTERS:
            raise BadConfig(
                f"config.yaml has more than {MAX_EXPANDED_NODES} keys and values or {MAX_EXPANDED_CHARACTERS} "
                f"characters once its aliases are expanded ({place(node.start_mark)})."
            )
        if size.depth > MAX_DEPTH + 1:
            raise _too_deep(node)
        sizes[id(node)] = size
        return size

    measure(root)


def _too_deep(marked: Any) -> BadConfig:
    return BadConfig(f"config.yaml is nested deeper than {MAX_DEPTH} levels ({place(marked.start_mark)}).")


class JsonBuilder:
    """Builds the values of JSON from nodes of a checked size. `warnings` collects what YAML 1.1 read otherwise."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        """Return the mapping by the text of its keys, with what `<<` merges into it. Raises BadConfig."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: set[object] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise BadConfig(f"config.yaml has a list or a mapping as a key ({place(key.start_mark)}).")
            if key.tag == _MERGE:
                merged = self.merged(value) | merged
                continue
            # `1` and `"1"` are one key, and so are `true` and `True`.
            spellings = {key.value, (key.tag, self.scalar(key))}
            if not seen.isdisjoint(spellings):
                shown = rules.display_key(key.value)
                raise BadConfig(f"{shown} is given twice ({place(key.start_mark)}).")
            seen |= spellings
            own[key.value] = self.value(value)
        return own | {name: value for name, value in merged.items() if name not in own}

    def merged(self, node: yaml.Node) -> dict[str, Any]:
        """Return what a `<<` merges: a mapping, or a list of them, of which the first wins. Raises BadConfig."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise BadConfig(f"`<<` can only merge mappings ({place(source.start_mark)}).")
            merged = self.mapping(source) | merged
        return merged

    def value(self, node: yaml.Node) -> Any:
        """Return the value of any node. Raises BadConfig."""
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        is_plain = isinstance(node, yaml.ScalarNode) and not node.style
        if is_plain and node.value.lower() in _OTHER_BOOLEANS:
            self.warnings.append(
                f"{node.value} is text, as YAML 1.2 says. Write true or false if you mean that, or quote it "
                f"({place(node.start_mark)})."
            )
        return self.scalar(node)

    def scalar(self, node: yaml.Node) -> str | int | float | bool | None:
        """Return the value of a scalar by its tag. Raises BadConfig for a number of too many digits."""
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in {"int", "float"} and len(text) > MAX_NUMBER_CHARACTERS:
            raise BadConfig(f"config.yaml has a number of {len(text)} characters ({place(node.start_mark)}).")
        if kind == "int":
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if kind == "float" and text.lstrip("-+.")[:1].isdigit():
            number = float(text)
            return text if abs(number) == float("inf") else number
        return text


def describe_problem(problem: rules.Problem, root: yaml.Node) -> str:
    """Return the problem in a sentence with the place of its key, or of the nearest parent that the file has."""
    where = place(find_mark(problem.key, root))
    return f"{rules.display_key(problem.key) or 'config.yaml'}: {problem.message} ({where})."


def find_mark(key: str, root: yaml.Node) -> yaml.Mark:
    """Return where the key of this path, for example `models[0].id`, stands in the file."""
    rest, node, mark = key, root, root.start_mark
    while rest:
        for name, child, child_mark in named_children(node):
            if rest == name or rest.startswith((f"{name}.", f"{name}[")):
                rest, node, mark = rest[len(name) :].removeprefix("."), child, child_mark
                break
        else:
            break
    return mark


def named_children(node: yaml.Node) -> Iterator[tuple[str, yaml.Node, yaml.Mark]]:
    """Yield the key, or the index in brackets, the node and the place of each child of a node."""
    if isinstance(node, yaml.SequenceNode):
        yield from ((f"[{index}]", item, item.start_mark) for index, item in enumerate(node.value))
    elif isinstance(node, yaml.MappingNode):
        yield from ((key.value, value, key.start_mark) for key, value in node.value)


def place(mark: Any) -> str:
    """Return the line and the column of a mark, counted from 1."""
    return f"line {mark.line + 1}, column {mark.column + 1}"
