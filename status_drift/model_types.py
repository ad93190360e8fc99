"""Which model an expression belongs to: a model's class, a row of it, a queryset of it, as far as one file tells."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model, QuerySet

from status_drift.sources import Source, last_name, root_name

# These return what their first argument is, a row of it, or a sequence of such rows.
_PASSING_ON = frozenset(
    {"get_object_or_404", "aget_object_or_404", "get_list_or_404", "aget_list_or_404", "cast"}
    | {"list", "tuple", "set", "sorted", "reversed", "iter", "next", "copy", "deepcopy", "enumerate"}
)
# These take lookups of the model that the call around them is about.
_CONDITIONS = frozenset({"Q", "When"})

ModelClass = type[Model]
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One way in which a name gets its value: by a value, or as an item of it; or declared by an annotation."""

    value: ast.expr | None = None
    annotation: ast.expr | None = None


@cache
def classes() -> dict[str, ModelClass]:
    """Map the names of models, of their querysets and of their managers to the model."""
    found: dict[str, set[ModelClass]] = {}
    for model in apps.get_models():
        found.setdefault(model.__name__, set()).add(model)
        for manager in model._meta.managers:
            queryset = getattr(manager, "_queryset_class", QuerySet)
            own = {type(manager).__name__: type(manager), queryset.__name__: queryset}
            for name, kind in own.items():
                if not kind.__module__.startswith("django."):
                    found.setdefault(name, set()).add(model)
    return {name: models.pop() for name, models in found.items() if len(models) == 1}


@cache
def relations() -> dict[str, ModelClass]:
    """Map the names by which lookups reach a model, and only that one, from whatever other model."""
    found: dict[str, set[Any]] = {}
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if field.is_relation and field.related_model is not None:
                found.setdefault(field.name, set()).add(field.related_model)
    return {name: models.pop() for name, models in found.items() if len(models) == 1}


@cache
def row_names() -> dict[str, ModelClass]:
    """Map the names that a variable with a row or rows of a model usually has: `workspace`, `workspaces`."""
    found: dict[str, ModelClass] = {}
    for model in classes().values():
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", model.__name__).casefold()
        found |= {name: model, f"{name}s": model}
    return found


@cache
def queryset_methods(model: ModelClass) -> frozenset[str]:
    """Return the methods by which a queryset of the model gives rows or querysets of it."""
    own = getattr(model._default_manager, "_queryset_class", QuerySet)
    return frozenset(name for name in dir(own) if not name.startswith("_"))


def field_at(model: ModelClass, path: str) -> Any:
    """Return the field that a lookup leads to (`workspace__status__in`), None if the models have no such field."""
    for part in path.split("__"):
        try:
            field = model._meta.get_field(part)
        except FieldDoesNotExist:
            return None
        if isinstance(field, Field) and not field.is_relation:
            return field
        related = field.related_model
        if not isinstance(related, type):
            return None
        model = related
    return None


class ModelTypes:
    """Tells the models of one file's expressions."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._bindings: dict[int, dict[str, list[Binding]]] = {}
        self._resolving: set[int] = set()

    def model_of(self, node: ast.AST | None) -> ModelClass | None:
        """Return the model that the expression is, is a row of or is a queryset of; None if the file doesn't tell."""
        match node:
            case ast.Name():
                return self._model_of_name(node)
            case ast.Attribute():
                return self._model_of_attribute(node)
            case ast.Call():
                return self._model_of_call(node)
            case ast.Subscript(slice=ast.Constant(value=str())):
                # A value of `.values()`, not a row.
                return None
            case ast.Subscript(value=inner) | ast.Await(value=inner) | ast.NamedExpr(value=inner):
                return self.model_of(inner)
            case ast.BoolOp(values=[inner, *_]) | ast.BinOp(left=inner):
                return self.model_of(inner)
            case ast.IfExp():
                return self.model_of(node.body) or self.model_of(node.orelse)
        return None

    def model_of_lookups(self, call: ast.Call) -> ModelClass | None:
        """Return the model whose fields the keywords of a call name: `Model(…)`, `Model.objects.filter(…)`, `Q(…)`."""
        if last_name(call.func) in _CONDITIONS:
            return self._model_around(call)
        if isinstance(call.func, ast.Attribute):
            model = self.model_of(call.func.value)
            if model and call.func.attr in queryset_methods(model):
                return model
        return self._model_of_class(last_name(call.func))

    def bindings(self, node: ast.Name) -> list[Binding]:
        """Return what gives the name its value in the innermost scope that does."""
        for scope in self._source.ancestors(node):
            if not isinstance(scope, Scope):
                continue
            found = self._bindings.get(id(scope))
            if found is None:
                found = self._bindings[id(scope)] = {}
                for name, binding in _bindings(scope):
                    found.setdefault(name, []).append(binding)
            if node.id in found:
                return found[node.id]
        return []

    def _model_of_name(self, node: ast.Name) -> ModelClass | None:
        if node.id in {"self", "cls"}:
            return self._model_of_class_around(node)
        if model := self._model_of_class(node.id):
            return model
        found = self.bindings(node)
        for annotation in (binding.annotation for binding in found if binding.annotation is not None):
            return self._model_of_annotation(annotation)
        if id(found) in self._resolving:
            return None
        self._resolving.add(id(found))
        # `rows = rows.filter(…)` tells nothing new.
        values = [one.value for one in found if one.value is not None and root_name(one.value) != node.id]
        values = [value for value in values if not isinstance(value, ast.Constant) or value.value is not None]
        known = {self.model_of(value) for value in values}
        self._resolving.remove(id(found))
        if not known or None in known:
            return row_names().get(node.id)
        return known.pop() if len(known) == 1 else None

    def _model_of_attribute(self, node: ast.Attribute) -> ModelClass | None:
        owner = self.model_of(node.value)
        if owner is None:
            # `self.workspace` of a class of ours, `models.Workspace` of an imported module.
            return row_names().get(node.attr) or self._model_of_class(node.attr)
        if node.attr in {"model", "__class__"} or node.attr in owner._meta.managers_map:
            return owner
        for field in owner._meta.get_fields():
            accessor = getattr(field, "get_accessor_name", lambda field=field: field.name)
            if field.is_relation and accessor() == node.attr and isinstance(field.related_model, type):
                return field.related_model
        return None

    def _model_of_call(self, node: ast.Call) -> ModelClass | None:
        name = last_name(node.func)
        if name in _PASSING_ON:
            return self.model_of(node.args[0]) if node.args else None
        if name == "get_model":
            return classes().get(str(getattr(node.args[-1], "value", ""))) if node.args else None
        returns = [function.returns for function in self._source.functions.get(name, []) if function.returns]
        if returns:
            return self._model_of_annotation(returns[0])
        return self.model_of_lookups(node)

    def _model_of_class(self, name: str) -> ModelClass | None:
        """Return the model that a class of this name is or belongs to, in this file."""
        module, original = self._source.imports.get(name, ("", name))
        model = classes().get(original)
        package = model.__module__.partition(".")[0] if model else ""
        return model if not module or module.partition(".")[0] == package else None

    def _model_of_annotation(self, annotation: ast.expr) -> ModelClass | None:
        """Return the only model that the annotation names: `Workspace | None`, `"QuerySet[Workspace]"`."""
        texts = [one.value for one in ast.walk(annotation) if isinstance(one, ast.Constant)]
        names = {last_name(one) for one in ast.walk(annotation)}
        names |= {word for text in texts if isinstance(text, str) for word in re.findall(r"\w+", text)}
        known = {model for name in names if (model := self._model_of_class(name))}
        return known.pop() if len(known) == 1 else None

    def _model_of_class_around(self, node: ast.AST) -> ModelClass | None:
        """Return the model that the class around a node is or belongs to, by its name or by what it derives from."""
        for definition in self._source.ancestors(node):
            if not isinstance(definition, ast.ClassDef):
                continue
            for name in (definition.name, *map(last_name, definition.bases)):
                if model := self._model_of_class(name):
                    return model
            for base in definition.bases:
                if isinstance(base, ast.Subscript) and last_name(base.value).endswith(("QuerySet", "Manager")):
                    return self._model_of_annotation(base)
        return None

    def _model_around(self, node: ast.AST) -> ModelClass | None:
        """Return the model of the call or of the class in which a condition stands."""
        for ancestor in self._source.ancestors(node):
            if isinstance(ancestor, ast.Call) and last_name(ancestor.func) not in _CONDITIONS:
                if model := self.model_of_lookups(ancestor):
                    return model
            elif isinstance(ancestor, Scope):
                return None
            elif isinstance(ancestor, ast.ClassDef) and (model := self._model_of_class_around(ancestor.body[0])):
                return model
        return None


def _bindings(scope: Scope) -> Iterator[tuple[str, Binding]]:
    """Yield each name that gets a value in the scope."""
    if not isinstance(scope, ast.Module):
        for argument in (*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs):
            yield argument.arg, Binding(annotation=argument.annotation)
    for node in _own_nodes(scope):
        match node:
            case ast.Assign():
                for target in node.targets:
                    yield from _targets(target, node.value)
            case ast.AnnAssign() | ast.NamedExpr():
                annotation = getattr(node, "annotation", None)
                yield last_name(node.target), Binding(value=node.value, annotation=annotation)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                yield from _targets(node.target, node.iter)


def _own_nodes(scope: Scope) -> Iterator[ast.AST]:
    """Yield the nodes of a scope without those of the functions inside it."""
    pending = [*ast.iter_child_nodes(scope)]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, Scope):
            pending += ast.iter_child_nodes(node)


def _targets(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Binding]]:
    if isinstance(target, (ast.Tuple, ast.List)):
        paired = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
        for place, one in enumerate(target.elts):
            yield from _targets(one, value.elts[place] if paired else value)  # type: ignore[attr-defined]
    elif isinstance(target, ast.Name):
        yield target.id, Binding(value=value)
