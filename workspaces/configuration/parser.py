"""Parses the text of a config.yaml into a plain dict, or says what is wrong and in which line and column.

Plain values mean what the core schema of YAML 1.2 says: only `true` and `false` are booleans, and tags are refused.
Size, nesting and aliases are limited before any value is built, so no text can exhaust memory, the stack or the time.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer

from agent import rules
from workspaces.configuration.diagnostics import MOST_DIAGNOSTICS, Diagnostic, bounded, in_order

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
    """The configuration can't be used. The message has the first problems, with key, line and column."""

    def __init__(self, *problems: Diagnostic | str) -> None:
        self.problems = [
            each if isinstance(each, Diagnostic) else Diagnostic(code="bad_template", path="template", message=each)
            for each in problems
        ]
        super().__init__(" ".join(map(str, self.problems[:_SHOWN_PROBLEMS])))


@dataclass(frozen=True, kw_only=True)
class CheckedConfig:
    """The values of a config.yaml, everything that is wrong in it, and what is probably not meant.

    With a problem in the YAML itself `config` holds only what could be read. `template` is the name of its template,
    if it is one's.
    """

    config: dict[str, Any]
    template: str = ""
    problems: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)
    root: yaml.Node | None = None

    def usable(self) -> "CheckedConfig":
        """Return this. Raises BadConfig with the problems, of very many the first."""
        if self.problems:
            raise BadConfig(*bounded(self.problems))
        return self

    def diagnostic(
        self, code: str, message: str, *, path: str, hint: str = "", texts: tuple[str, ...] = ()
    ) -> Diagnostic:
        """Return a finding at the place of its key, or of the nearest parent that the file has.

        `texts` are others of the config that the message or the hint shortens, whole.
        """
        line, column = position(find_mark(path, self.root)) if self.root else (None, None)
        return Diagnostic(
            code=code,
            message=message,
            path=rules.display_key(path),
            line=line,
            column=column,
            hint=hint,
            texts=(path, *texts),
        )

    def diagnostics(self, problems: Iterable[rules.Problem]) -> Iterator[Diagnostic]:
        """Yield findings whose messages are whole sentences, each at the place of its key.

        Looking for a place takes time in proportion to the file. So of many, one more than are shown get theirs, and
        all others the end of the file.
        """
        end = self.root.end_mark if self.root else None
        for number, problem in enumerate(problems):
            if number <= MOST_DIAGNOSTICS:
                yield self.diagnostic(
                    problem.code, problem.message, path=problem.key, hint=problem.hint, texts=problem.texts
                )
            else:
                texts = (problem.key, *problem.texts)
                shown = rules.display_key(problem.key)
                yield at(end, problem.code, problem.message, path=shown, hint=problem.hint, texts=texts)


def parse_config(text: str) -> dict[str, Any]:
    """Return the config as a dict of JSON's values. Raises BadConfig."""
    return check_config(text).config


def check_config(text: str) -> CheckedConfig:
    """Return the config in the shape that agent/rules.py requires, with warnings. Raises BadConfig."""
    return inspect_config(text).usable()


def inspect_config(text: str) -> CheckedConfig:
    """Return what the text says, with every problem. Raises nothing.

    The values are those of JSON; numbers that JSON lacks, such as `.nan`, are text.
    """
    try:
        check_characters(text)
        root, tags = compose(text)
    except BadConfig as error:
        return CheckedConfig(config={}, problems=in_order(error.problems))
    builder = JsonBuilder()
    config = builder.mapping(root)
    found = rules.check_shape(config)
    checked = CheckedConfig(config=config, root=root)
    return CheckedConfig(
        config=config,
        root=root,
        problems=in_order([*tags, *builder.problems, *located(found.problems, checked)]),
        warnings=list(dict.fromkeys([*builder.warnings, *located(found.warnings, checked)]))[:_SHOWN_WARNINGS],
    )


def located(problems: list[rules.Problem], checked: CheckedConfig) -> Iterator[Diagnostic]:
    """Yield what the rules found, with its place."""
    yield from checked.diagnostics(
        problem._replace(message=f"{rules.display_key(problem.key) or 'config.yaml'}: {problem.message}.")
        for problem in problems
    )


def check_characters(text: str) -> None:
    """Raise BadConfig for a text that is too large, or that has a character which YAML forbids."""
    if len(text.encode(errors="replace")) > MAX_CONFIG_BYTES:
        raise BadConfig(
            Diagnostic(code="too_large", message=f"config.yaml is larger than {MAX_CONFIG_BYTES // 1024} KiB.")
        )
    if found := _FORBIDDEN_CHARACTER.search(text):
        lines = _LINE_BREAK.split(text[: found.start()])
        message = f"config.yaml contains the character U+{ord(found[0]):04X}, which YAML forbids."
        raise BadConfig(Diagnostic(code="bad_character", message=message, line=len(lines), column=len(lines[-1]) + 1))


def compose(text: str) -> tuple[yaml.MappingNode, list[Diagnostic]]:
    """Return the document's nodes, few and not nested too deep, and its tags as problems. Raises BadConfig."""
    loader = _BoundedLoader(text)
    try:
        root = as_mapping(loader.get_single_node())
        check_size(root)
    except yaml.YAMLError as error:
        raise BadConfig(*loader.tags, not_yaml(error)) from None
    except BadConfig as error:
        raise BadConfig(*loader.tags, *error.problems) from None
    finally:
        loader.dispose()
    return root, loader.tags


def as_mapping(root: yaml.Node | None) -> yaml.MappingNode:
    """Return the root. Raises BadConfig unless it is a mapping."""
    if isinstance(root, yaml.MappingNode):
        return root
    message = "config.yaml must be a mapping of keys to values."
    raise BadConfig(Diagnostic(code="not_a_mapping", message=message, line=1, column=1))


def not_yaml(error: yaml.YAMLError) -> Diagnostic:
    """Return what the scanner or the parser of YAML stumbled on."""
    if not isinstance(error, yaml.MarkedYAMLError):
        reason = " ".join(str(error).split())
        return Diagnostic(code="bad_yaml", message=f"config.yaml is not valid YAML: {reason}.")
    mark = error.problem_mark or error.context_mark
    reason = error.problem or error.context or "it can't be parsed"
    # It repeats the name of an alias, which may be as long as the file.
    shown = rules.display_key(reason)
    return at(mark, "bad_yaml", f"config.yaml is not valid YAML: {shown}.", texts=(reason,))


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
        self.tags: list[Diagnostic] = []

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
            message = f"config.yaml has more than {MAX_EXPANDED_NODES} keys and values."
            raise BadConfig(at(event.start_mark, "too_many_values", message))
        if getattr(event, "tag", None):
            tag = str(event.tag).replace(_TAG, "!!")
            message = f"config.yaml has the tag {rules.display_key(tag)}."
            hint = "Tags are refused: write the value without it."
            self.tags.append(at(event.start_mark, "tag", message, hint=hint, texts=(tag,)))
            # The rest is read as if the tag weren't there, so that its problems are found, too.
            event.tag = None
            if isinstance(event, yaml.ScalarEvent):
                event.implicit = (not event.style, True)
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
            raise BadConfig(at(node.start_mark, "recursive_alias", "config.yaml has an alias that contains itself."))
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
            message = (
                f"config.yaml has more than {MAX_EXPANDED_NODES} keys and values or {MAX_EXPANDED_CHARACTERS} "
                "characters once its aliases are expanded."
            )
            raise BadConfig(at(node.start_mark, "aliases", message))
        if size.depth > MAX_DEPTH + 1:
            raise _too_deep(node)
        sizes[id(node)] = size
        return size

    measure(root)


def _too_deep(marked: Any) -> BadConfig:
    message = f"config.yaml is nested deeper than {MAX_DEPTH} levels."
    return BadConfig(at(marked.start_mark, "too_deep", message))


class JsonBuilder:
    """Builds the values of JSON from nodes of a checked size. It leaves out what it can't build and goes on.

    `problems` collects what was left out, `warnings` what YAML 1.1 read otherwise.
    """

    def __init__(self) -> None:
        self.problems: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        """Return the mapping by the text of its keys, with what `<<` merges into it."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: set[object] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                message = "config.yaml has a list or a mapping as a key."
                self.problems.append(at(key.start_mark, "bad_key", message))
                continue
            if key.tag == _MERGE:
                merged = self.merged(value) | merged
                continue
            # `1` and `"1"` are one key, and so are `true` and `True`.
            spellings = {key.value, (key.tag, self.scalar(key))}
            if not seen.isdisjoint(spellings):
                shown = rules.display_key(key.value)
                message = f"{shown} is given twice."
                found = at(key.start_mark, "duplicate_key", message, path=shown, texts=(key.value,))
                self.problems.append(found)
                continue
            seen |= spellings
            own[key.value] = self.value(value)
        return own | {name: value for name, value in merged.items() if name not in own}

    def merged(self, node: yaml.Node) -> dict[str, Any]:
        """Return what a `<<` merges: a mapping, or a list of them, of which the first wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if isinstance(source, yaml.MappingNode):
                merged = self.mapping(source) | merged
            else:
                self.problems.append(at(source.start_mark, "bad_merge", "`<<` can only merge mappings."))
        return merged

    def value(self, node: yaml.Node) -> Any:
        """Return the value of any node."""
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        is_plain = isinstance(node, yaml.ScalarNode) and not node.style
        if is_plain and node.value.lower() in _OTHER_BOOLEANS:
            message = f"{node.value} is text, as YAML 1.2 says."
            hint = "Write true or false if you mean that, or quote it."
            self.warnings.append(at(node.start_mark, "not_a_boolean", message, hint=hint))
        return self.scalar(node)

    def scalar(self, node: yaml.Node) -> str | int | float | bool | None:
        """Return the value of a scalar by its tag; None for a number of too many digits, which is a problem."""
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in {"int", "float"} and len(text) > MAX_NUMBER_CHARACTERS:
            message = f"config.yaml has a number of {len(text)} characters."
            self.problems.append(at(node.start_mark, "long_number", message))
            return None
        if kind == "int":
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if kind == "float" and text.lstrip("-+.")[:1].isdigit():
            number = float(text)
            return text if abs(number) == float("inf") else number
        return text


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
    """Yield the key, or the index in brackets, the node and the place of each child of a node that has a name."""
    if isinstance(node, yaml.SequenceNode):
        yield from ((f"[{index}]", item, item.start_mark) for index, item in enumerate(node.value))
    elif isinstance(node, yaml.MappingNode):
        scalars = ((key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
        yield from ((key.value, value, key.start_mark) for key, value in scalars)


def position(mark: Any) -> tuple[int | None, int | None]:
    """Return the line and the column of a mark, counted from 1; None for none."""
    return (mark.line + 1, mark.column + 1) if mark else (None, None)


def at(
    mark: Any, code: str, message: str, *, path: str = "", hint: str = "", texts: tuple[str, ...] = ()
) -> Diagnostic:
    """Return a finding at the place of a mark."""
    line, column = position(mark)
    return Diagnostic(code=code, message=message, path=path, line=line, column=column, hint=hint, texts=texts)
