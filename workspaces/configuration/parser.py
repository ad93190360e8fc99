"""Parses the text of a config.yaml into a plain dict, or says what is wrong and in which line.

Size, nesting and aliases are limited before any value is built, so no text can exhaust memory or the stack.
"""

from typing import Any

import yaml
from yaml.composer import Composer

from agent import rules

MAX_CONFIG_BYTES = 256 * 1024
MAX_DEPTH = 40
# Far above any real file. A few lines of aliases to aliases could expand to billions of nodes.
MAX_EXPANDED_NODES = 20_000
_SHOWN_PROBLEMS = 5


class BadConfig(ValueError):
    """The config.yaml can't be used; the message names the key and the line."""


def parse_config(text: str) -> dict[str, Any]:
    """Return the config as a dict that has the shape which agent/rules.py requires. Raises BadConfig.

    The values are those of JSON; what JSON lacks (dates, sets, bytes) is a string.
    """
    if len(text.encode(errors="replace")) > MAX_CONFIG_BYTES:
        raise BadConfig(f"config.yaml is larger than {MAX_CONFIG_BYTES // 1024} KiB.")
    try:
        config, lines = _read_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        reason = error.problem or error.context or "it can't be parsed"
        raise BadConfig(f"config.yaml is not valid YAML: {reason}{position}.") from None
    except yaml.YAMLError as error:
        raise BadConfig(f"config.yaml is not valid YAML: {' '.join(str(error).split())}.") from None
    except BadConfig:
        raise
    except (ValueError, OverflowError, TypeError) as error:
        raise BadConfig(f"config.yaml has a value that can't be read: {error}.") from None
    if problems := rules.problems_of_shape(config):
        raise BadConfig(" ".join(describe_problem(problem, lines) for problem in problems[:_SHOWN_PROBLEMS]))
    return config


def _read_yaml(text: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the config, and the line of each key by its path. Raises BadConfig, or what PyYAML raises."""
    loader = _BoundedLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise BadConfig("config.yaml must be a mapping of keys to values (line 1).")
        check_size(node)
        lines = key_lines(node)
        return to_json(loader.construct_document(node)), lines
    finally:
        loader.dispose()


class _BoundedLoader(Composer, yaml.CSafeLoader):
    """Reads with libyaml and composes nodes in Python, so that the nesting is checked before it recurses deeper."""

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        Composer.__init__(self)
        self._depth = 0

    def get_event(self) -> Any:
        event = super().get_event()
        if isinstance(event, yaml.CollectionStartEvent):
            self._depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            self._depth -= 1
        if self._depth > MAX_DEPTH:
            raise BadConfig(f"config.yaml is nested deeper than {MAX_DEPTH} levels (line {_line(event)}).")
        return event


def to_json(value: Any) -> Any:
    """Return the value with everything that JSON lacks (dates, sets, bytes, infinity) as text or lists."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return str(value)


def check_size(root: yaml.Node) -> None:
    """Raise BadConfig if the aliases expand to too many nodes, or if one contains itself."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise BadConfig(f"config.yaml has an alias that contains itself (line {_line(node)}).")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            children: list[yaml.Node] = []
            if isinstance(node, yaml.MappingNode):
                children = [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = node.value
            sizes[id(node)] = 1 + sum(size(child) for child in children)
            open_nodes.discard(id(node))
        if sizes[id(node)] > MAX_EXPANDED_NODES:
            raise BadConfig(f"config.yaml has more than {MAX_EXPANDED_NODES} values once its aliases are expanded.")
        return sizes[id(node)]

    size(root)


def key_lines(root: yaml.Node) -> dict[str, int]:
    """Return the line of each key by its path, for example `models[0].id`. Raises BadConfig for a repeated key."""
    lines: dict[str, int] = {}
    waiting: list[tuple[str, yaml.Node]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        lines.setdefault(path, _line(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{path}[{index}]", item) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = f"{path}.{key.value}" if path else str(key.value)
                if name in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise BadConfig(f"{name} is given twice (line {_line(key)}).")
                seen.add(name)
                lines[name] = _line(key)
                waiting.append((name, value))
    return lines


def describe_problem(problem: rules.Problem, lines: dict[str, int]) -> str:
    """Return the problem in a sentence with the line of its key, or of the nearest parent that the file has."""
    key = problem.key
    while key and key not in lines:
        key = key.rpartition("[" if key.endswith("]") else ".")[0]
    return f"{problem.key or 'config.yaml'}: {problem.message} (line {lines.get(key, 1)})."


def _line(marked: Any) -> int:
    return int(marked.start_mark.line) + 1
