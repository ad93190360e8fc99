"""Reads the text of a config.yaml into a plain dict, or says what is wrong with it and in which line.

Nothing in the text can exhaust us: its size, nesting and aliases are bounded before any value is built.
"""

from typing import Any

import yaml

from agent import rules

MAX_CONFIG_BYTES = 256 * 1024
MAX_DEPTH = 40
# Far above any real file; a few lines of aliases to aliases would make billions.
MAX_EXPANDED_NODES = 20_000

Path = tuple[str, ...]


class BadConfig(ValueError):
    """The config.yaml can't be used; the message names the key and the line."""


def parse_config(text: str) -> dict[str, Any]:
    """Return the config as a dict whose shape agent/rules.py accepts. Raises BadConfig."""
    config, lines = _parse(text)
    problems = rules.problems_of_shape(config)
    if problems:
        raise BadConfig(" ".join(_located(problem, lines) for problem in problems[:5]))
    return config


def _parse(text: str) -> tuple[dict[str, Any], dict[str, int]]:
    if len(text.encode(errors="replace")) > MAX_CONFIG_BYTES:
        raise BadConfig(f"config.yaml is larger than {MAX_CONFIG_BYTES // 1024} KiB.")
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise BadConfig("config.yaml must be a mapping of keys to values (line 1).")
        _check_size(node)
        lines = _lines_of(node)
        return _build(node), lines
    except yaml.MarkedYAMLError as error:
        raise BadConfig(_sentence(error)) from None
    except yaml.YAMLError as error:
        raise BadConfig(f"config.yaml is no valid YAML: {' '.join(str(error).split())}.") from None
    except (ValueError, OverflowError, TypeError) as error:
        if isinstance(error, BadConfig):
            raise
        raise BadConfig(f"config.yaml holds a value that can't be read: {error}.") from None


def _build(node: yaml.MappingNode) -> dict[str, Any]:
    loader = yaml.CSafeLoader("")
    try:
        return _plain(loader.construct_document(node))
    finally:
        loader.dispose()


def _plain(value: Any) -> Any:
    """Return the value with what JSON doesn't know (dates, sets, bytes) as text: agents read config.json."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return str(value)


def _check_depth(text: str) -> None:
    # Events are read one by one: nothing recurses yet.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise BadConfig(f"config.yaml is nested deeper than {MAX_DEPTH} levels (line {_line(event)}).")


def _check_size(root: yaml.Node) -> None:
    """Refuse aliases that explode, or that hold themselves, by counting what they would expand to."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise BadConfig(f"config.yaml has an alias that holds itself (line {_line(node)}).")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            open_nodes.discard(id(node))
        if sizes[id(node)] > MAX_EXPANDED_NODES:
            raise BadConfig(f"config.yaml has more than {MAX_EXPANDED_NODES} values once its aliases are expanded.")
        return sizes[id(node)]

    size(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _lines_of(root: yaml.Node) -> dict[str, int]:
    """Return the line of each key, named as agent/rules.py names them: `models[0].id`. Refuses a key given twice."""
    lines: dict[str, int] = {}
    waiting: list[tuple[str, yaml.Node]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        lines.setdefault(path, _line(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{path}[{index}]", item) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            waiting += _entries(path, node, lines)
    return lines


def _entries(path: str, node: yaml.MappingNode, lines: dict[str, int]) -> list[tuple[str, yaml.Node]]:
    entries = []
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{path}.{key.value}" if path else str(key.value)
        if name in seen and key.tag != "tag:yaml.org,2002:merge":
            raise BadConfig(f"{name} is given twice (line {_line(key)}).")
        seen.add(name)
        lines[name] = _line(key)
        entries.append((name, value))
    return entries


def _located(problem: rules.Problem, lines: dict[str, int]) -> str:
    key = problem.key
    while key and key not in lines:
        key = key.rpartition("[" if key.endswith("]") else ".")[0]
    return f"{problem.key or 'config.yaml'}: {problem.message} (line {lines.get(key, 1)})."


def _line(marked: Any) -> int:
    return int(marked.start_mark.line) + 1


def _sentence(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    reason = error.problem or error.context or "it can't be parsed"
    return f"config.yaml is no valid YAML: {reason}{where}."
