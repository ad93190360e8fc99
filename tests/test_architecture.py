"""Arrows that import contracts can't express."""

import ast

from django.conf import settings

from tests import architecture

WRITERS = {"transition", "transition_each"}


def test_only_the_services_change_the_status_of_a_workspace():
    importers = set()
    for app in ("devserver", "config", "monitoring", "registry", "workspaces", "events"):
        for path in (settings.BASE_DIR / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and WRITERS & {alias.name for alias in node.names}:
                    importers.add(path.parent.relative_to(settings.BASE_DIR).as_posix())
    assert importers <= {f"workspaces/services/{layer}" for layer in ("core", "stopping", "launching", "watching")}
    assert importers


def planted(folder, **files):
    """Write a project of these files, and return what is found in it."""
    for package in architecture.PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text('"""What belongs here."""\n')
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("INIT", "__init__")
        path = path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    listed = [path.relative_to(folder) for path in folder.rglob("*.py")]
    return " ".join(architecture.findings(folder, listed)[0])


def lines(count, name="f"):
    return f"def {name}():\n" + "    x = 1\n" * (count - 1)


def test_a_folder_of_seventeen_files_is_found(tmp_path):
    found = planted(tmp_path, **{f"events__m{number}": lines(7) for number in range(17)})
    assert found == "events/ has 17 files, more than 16: split it by subject."


def test_a_folder_without_a_docstring_is_found(tmp_path):
    found = planted(tmp_path, events__live__INIT="", events__live__m=lines(7))
    assert "events/live/__init__.py needs one sentence" in found


def test_a_folder_without_an_init_is_found(tmp_path):
    assert "events/live/ needs an __init__.py" in planted(tmp_path, events__live__m=lines(7))


def test_packages_that_import_each_other_are_found_and_a_registry_with_its_kinds_is_not(tmp_path):
    found = planted(
        tmp_path,
        events__a__one="from events.b import two\n" + lines(7),
        events__b__two="",
        events__b__three="import events.a.one\n",
        workspaces__kinds__registry="from workspaces.kinds.process import kind\n",
        workspaces__kinds__base="",
        workspaces__kinds__process__kind="from workspaces.kinds import base\n",
    )
    assert found.partition("circle: ")[2] == "events.a, events.b."


def test_a_function_of_41_lines_is_found(tmp_path):
    assert "events/m.py:1 f has more than 40 lines." in planted(tmp_path, events__m=lines(41))
    assert architecture.LONGEST_FUNCTION == 40


def test_a_median_of_short_functions_is_found(tmp_path):
    assert "The median function has 3 lines" in planted(tmp_path, events__m=lines(3))


def test_private_functions_that_are_called_once_are_counted(tmp_path):
    once = lines(7, "_once") + "_once()\n"
    twice = lines(7, "_twice") + "_twice()\n_twice()\n"
    assert planted(tmp_path, events__m=once + twice).startswith("1 of 2 private functions are called once")
