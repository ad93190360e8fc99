"""Checks the layout that CONTRIBUTING.md promises: `python -m tests.architecture`, part of `make check`.

Import-linter holds the layers; this holds what it can't express: folders that stay small and say what belongs in them,
no cycles between packages, functions of a readable length, and private functions that earn their place. Prints one line
for each finding and the figures; exits with 1 if there is a finding.
"""

import ast
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from status_drift.sources import PACKAGES

MOST_FILES_IN_A_FOLDER = 16
# The command line is a package of its own, which the drift gate leaves alone: it knows a server only by its API.
CHECKED = (*PACKAGES, "cli")
# Their numbers are permanent, so these folders can't be split.
NUMBERED = ("migrations", "adr")
LONGEST_FUNCTION = 40
MEDIAN_FUNCTION = range(6, 11)
MOST_ONE_CALLER_PERCENT = 35
# Nothing but Django's own commands lies in these; Django says what belongs in them.
SELF_EXPLAINING = ("management", "commands", "migrations")


@dataclass
class Module:
    """One source file: its dotted name, its path below the root, its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self):
        """Return the dotted name of the folder that it lies in."""
        return ".".join(self.path.parent.parts)


@dataclass
class Figures:
    """The lengths of all functions in lines, and of the private ones which are called once."""

    lengths: list = field(default_factory=list)
    private: int = 0
    called_once: list = field(default_factory=list)

    @property
    def called_once_percent(self):
        return 100 * len(self.called_once) / max(self.private, 1)

    def __str__(self):
        self.lengths.sort()
        p90 = self.lengths[int(len(self.lengths) * 0.9)]
        return (
            f"{len(self.lengths)} functions, median {statistics.median(self.lengths):.0f} lines, p90 {p90}, "
            f"longest {self.lengths[-1]}; {self.private} private, {self.called_once_percent:.0f} % of them called once"
        )


def modules(root):
    """Read the source of all packages, without migrations."""
    found = []
    for package in CHECKED:
        for path in sorted((root / package).rglob("*.py")):
            below = path.relative_to(root)
            if "migrations" in below.parts:
                continue
            parts = below.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, below, ast.parse(path.read_text())))
    return found


def folder_findings(files, root):
    """Find folders with too many files, and packages that don't say what belongs in them."""
    files = list(files)
    packages = {path.parent for path in files if path.name == "__init__.py"}
    for folder in sorted({path.parent for path in files if path.suffix == ".py"} - packages):
        if folder.parts and folder.parts[0] in CHECKED:
            yield f"{folder}/ needs an __init__.py with one sentence (its docstring) that says what belongs in it."
    counts = Counter(path.parent for path in files if path.name != "__init__.py")
    for folder, count in sorted(counts.items()):
        if count > MOST_FILES_IN_A_FOLDER and folder.name not in NUMBERED:
            yield f"{folder}/ has {count} files, more than {MOST_FILES_IN_A_FOLDER}: split it by subject."
    for path in sorted(path for path in files if path.name == "__init__.py"):
        if path.parent.name in SELF_EXPLAINING:
            continue
        if not ast.get_docstring(ast.parse((root / path).read_text())):
            yield f"{path} needs one sentence (its docstring) that says what belongs in the folder."


def imports(module, known):
    """Name the modules of ours that this one imports, inside functions too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                target = f"{node.module}.{alias.name}"
                if target in known or node.module in known:
                    yield target if target in known else node.module


def package_cycles(source):
    """Return each group of packages that import each other in a circle.

    A package and one inside it count as one way: a registry imports the kinds below it, which build on its base.
    """
    by_name = {module.name: module for module in source}
    arrows = defaultdict(set)
    for module in source:
        for target in imports(module, set(by_name)):
            here, there = module.package, by_name[target].package
            if not f"{here}.".startswith(f"{there}.") and not f"{there}.".startswith(f"{here}."):
                arrows[here].add(there)
    return cycles(arrows)


def cycles(arrows):
    """Return the strongly connected groups of more than one node."""
    reach = {node: reachable(node, arrows) for node in arrows}
    groups = {
        frozenset({node, *(other for other in reach[node] if node in reach.get(other, ()))})
        for node in arrows
        if node in reach[node]
    }
    return sorted(sorted(group) for group in groups)


def reachable(start, arrows):
    """Return all nodes that arrows lead to from here."""
    seen = set()
    waiting = list(arrows.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(arrows.get(node, ()))
    return seen


def figures(source):
    """Measure all functions. A private one is called once if its name is read once in its module."""
    measured = Figures()
    for module in source:
        read = Counter()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name):
                read[node.id] += 1
            elif isinstance(node, ast.Attribute):
                read[node.attr] += 1
        for function in functions(module):
            measured.lengths.append(length(function))
            if function.name.startswith("_") and not function.name.startswith("__"):
                measured.private += 1
                if read[function.name] == 1:
                    measured.called_once.append(f"{module.path}:{function.lineno} {function.name}")
    return measured


def functions(module):
    """Yield every function and method."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function):
    """Return the lines from `def` to the end, docstring and comments included."""
    return function.end_lineno - function.lineno + 1


def function_findings(source, measured):
    """Find functions that are too long, and figures that are out of bounds."""
    for module in source:
        for function in functions(module):
            if length(function) > LONGEST_FUNCTION:
                yield f"{module.path}:{function.lineno} {function.name} has more than {LONGEST_FUNCTION} lines."
    median = statistics.median(measured.lengths)
    if not MEDIAN_FUNCTION.start <= median < MEDIAN_FUNCTION.stop:
        best = f"{MEDIAN_FUNCTION.start} to {MEDIAN_FUNCTION.stop - 1}"
        yield f"The median function has {median:.0f} lines: {best} read best."
    if measured.called_once_percent > MOST_ONE_CALLER_PERCENT:
        yield (
            f"{len(measured.called_once)} of {measured.private} private functions are called once, more than "
            f"{MOST_ONE_CALLER_PERCENT} %: inline those whose name says no more than their body "
            "(`python -m tests.architecture --called-once` lists them)."
        )


def findings(root, files):
    """Return all findings, and the figures."""
    source = modules(root)
    measured = figures(source)
    found = [*folder_findings(files, root)]
    found += [f"These packages import each other in a circle: {', '.join(group)}." for group in package_cycles(source)]
    found += function_findings(source, measured)
    return found, measured


def main():
    """Check the project that this file is part of."""
    root = Path(__file__).resolve().parent.parent
    # New files too, whether they are added yet or not.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    files = [Path(name) for name in listed.stdout.split("\0") if name and (root / name).exists()]
    found, measured = findings(root, files)
    print("\n".join([*found, str(measured)]))
    if "--called-once" in sys.argv:
        print("\n".join(measured.called_once))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
