"""Finds each use of a mask in the code, and takes one away, so that the poison test can show that it needs each."""

import ast
import importlib
import inspect
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

_ROOTS = ("config", "devserver", "events", "monitoring", "registry", "workspaces")
# How a text is masked, not where: its own tests show that it is found in each form.
_THE_MASK_ITSELF = Path("events/masking")


class Use(NamedTuple):
    """A call of a mask: its module, the function or method around it, and the call, numbered if there are several."""

    module: str
    owner: str
    call: str

    def __str__(self):
        return f"{self.module}:{self.owner} {self.call}"


class Unmasked:
    """A masker that masks nothing."""

    def mask(self, text):
        return text

    def mask_strings(self, value):
        return value

    mask_all = mask_log_tail = mask_log_lines = mask_tokens = mask

    def mask_start(self, text, *, most_characters):
        return text[:most_characters]


class Uses(ast.NodeTransformer):
    """Lists the uses in a module, and replaces the masker of the one to be taken away."""

    def __init__(self, module, taken=None):
        self.module, self.taken, self.found, self._around = module, taken, [], []

    def visit_scope(self, node):
        self._around.append(node.name)
        self.generic_visit(node)
        self._around.pop()
        return node

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = visit_scope  # noqa: N815 (names of the standard library)

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name != "mask" and not name.startswith("mask_"):
            return node
        use = Use(self.module, ".".join(self._around), name)
        number = sum(each[:2] == use[:2] and each.call.split("#")[0] == name for each in self.found) + 1
        self.found.append(use if number == 1 else use._replace(call=f"{name}#{number}"))
        if self.found[-1] == self.taken:
            node.func = ast.Attribute(ast.Name("_unmasked", ast.Load()), name, ast.Load())
        return node


def uses():
    """Return each use of a mask in the code, in the order of the files."""
    found = []
    for path in sorted(path for root in _ROOTS for path in (settings.BASE_DIR / root).rglob("*.py")):
        place = path.relative_to(settings.BASE_DIR)
        if _THE_MASK_ITSELF not in place.parents and "migrations" not in place.parts:
            visitor = Uses(".".join(place.with_suffix("").parts))
            visitor.visit(ast.parse(path.read_text()))
            found += visitor.found
    return found


def take_away(monkeypatch, use):
    """Let the one use mask nothing: compile its module without it, and give the function around it the new code."""
    module = importlib.import_module(use.module)
    tree = Uses(use.module, use).visit(ast.parse(Path(module.__file__).read_text()))
    code, found = compile(ast.fix_missing_locations(tree), module.__file__, "exec"), module
    for name in use.owner.split("."):
        code = next(each for each in code.co_consts if inspect.iscode(each) and each.co_name == name)
        found = getattr(found, name)
    function = inspect.unwrap(found)
    assert function.__code__ != code
    monkeypatch.setattr(module, "_unmasked", Unmasked(), raising=False)
    monkeypatch.setattr(function, "__code__", code)
