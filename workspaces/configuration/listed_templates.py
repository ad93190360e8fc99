"""The templates as people see them: what is wrong with one may repeat a secret, which not all of them may know."""

from dataclasses import replace

from django.db import Error, connection, transaction

from workspaces.access.masking import masker_of_sets
from workspaces.configuration import catalog
from workspaces.configuration.catalog import Template
from workspaces.configuration.diagnostics import findings_without_values
from workspaces.configuration.parser import BadConfig

_LEFT_OUT = "the reason is left out, since the secrets in it can't be masked now."


def list_templates() -> list[Template]:
    """Return what `catalog.list_templates` does, without global secrets. They are read only if a template is bad."""
    return without_values(catalog.list_templates())


def list_bad_templates() -> list[Template]:
    """Return the bad ones. Without the database they have no reason. A connection that was not there isn't left."""
    bad = [each for each in catalog.list_templates() if each.problem]
    if not bad:
        return []
    was_connected = connection.connection is not None
    try:
        with transaction.atomic():
            return without_values(bad)
    except Error:
        return [replace(each, problem=_LEFT_OUT) for each in bad]
    finally:
        if not was_connected:
            connection.close()


def without_values(templates: list[Template]) -> list[Template]:
    """Return the templates without the global secrets that their problems repeat."""
    if not any(each.problem for each in templates):
        return templates
    masker = masker_of_sets(())
    return [
        replace(each, problem=str(BadConfig(*findings_without_values(each.findings, masker)))) if each.problem else each
        for each in templates
    ]
