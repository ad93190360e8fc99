"""The table of operations, and what is made from it: admin, commands, API and docs."""

from inspect import signature

import django.core
import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import ManagementUtility, find_commands, get_commands, load_command_class
from django.urls import reverse

from config.api.ninja_api import api
from tests.workspaces.factories import online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.management.operations_page import operations_page
from workspaces.operations import OPERATIONS

EVERYWHERE = [operation for operation in OPERATIONS if not operation.is_admin_only]
NAME = {"ids": lambda operation: operation.name}


def test_names_are_unique():
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


def test_no_operation_hides_a_command_of_that_name():
    folders = [django.core.__path__[0], *(app.path for app in apps.get_app_configs())]
    written = {name for folder in folders for name in find_commands(f"{folder}/management")}
    assert "migrate" in written
    assert "deadlines" in written
    assert written & {operation.name for operation in EVERYWHERE} == set()


@pytest.mark.parametrize("operation", OPERATIONS, **NAME)
def test_every_operation_starts_from_a_status_but_not_from_removed(operation):
    assert operation.sources
    assert WorkspaceStatus.REMOVED not in operation.sources


@pytest.mark.parametrize("operation", OPERATIONS, **NAME)
def test_options_are_keywords_of_its_function(operation):
    keywords = {name for name, each in signature(operation.run).parameters.items() if each.kind == each.KEYWORD_ONLY}
    assert {option.name for option in operation.options} <= keywords
    assert set(operation.admin_options) <= keywords
    assert operation.records_operator == ("by" in keywords)


@pytest.mark.parametrize("operation", EVERYWHERE, **NAME)
def test_every_operation_has_a_command_with_its_options(operation):
    command = load_command_class(get_commands()[operation.name], operation.name)
    flags = command.create_parser("manage.py", operation.name).format_help()
    assert operation.help.split(".")[0] in " ".join(flags.split())
    assert all(option.flag in flags for option in operation.options)


def test_help_lists_the_commands():
    listed = ManagementUtility(["manage.py", "help"]).main_help_text().split()
    assert {operation.name for operation in EVERYWHERE} <= set(listed)


@pytest.mark.parametrize("operation", EVERYWHERE, **NAME)
def test_every_operation_has_a_route_with_its_options(operation):
    route = api.get_openapi_schema()["paths"][f"/workspaces{operation.api_path}"][operation.method.lower()]
    query = {parameter["name"] for parameter in route["parameters"] if parameter["in"] == "query"}
    assert query == {option.name for option in operation.options}
    assert route["description"] == operation.help


@pytest.mark.django_db
@pytest.mark.parametrize("operation", OPERATIONS, **NAME)
def test_every_operation_has_an_action_on_the_admins_list_and_a_confirmation_page(operation, admin_client):
    workspace = online(name="mine")
    attribute = operation.name.replace("-", "_")
    listed = admin_client.get(reverse("admin:workspaces_workspace_changelist")).content.decode()
    asked = admin_client.get(reverse(f"admin:workspaces_workspace_{attribute}", args=[workspace.pk])).content.decode()
    assert f'value="{attribute}_selected"' in listed
    assert f"{operation.label} mine?" in asked


def test_the_page_in_docs_is_current():
    is_current = (settings.BASE_DIR / "docs/reference/operations.md").read_text() == operations_page()
    assert is_current, "Run `make fix`."
