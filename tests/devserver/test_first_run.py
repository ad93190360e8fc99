"""The first workspace of a new `make up`, with a catalog of the operator's own."""

import io

import pytest

from devserver.console import Console
from devserver.first_run import FirstWorkspace
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db

CATALOGS = {
    "empty": {},
    "with other templates": {"mine": "name: mine\nruntime: hermes\n"},
    "with a bad echo": {"echo": "name: [unfinished"},
    "with an echo that lacks its file": {"echo": None},
}


@pytest.mark.parametrize("templates", CATALOGS.values(), ids=CATALOGS)
def test_without_a_usable_echo_the_first_workspace_is_skipped_in_a_sentence(tmp_path, settings, templates):
    for name, config in templates.items():
        (tmp_path / name).mkdir()
        if config is not None:
            (tmp_path / name / "config.yaml").write_text(config)
    settings.CATALOG_DIRS = [tmp_path]
    output = io.StringIO()
    first = FirstWorkspace(console=Console(output))
    first.create()
    first.report()
    assert "No first workspace was launched." in output.getvalue()
    assert first.has_booted
    assert not Workspace.objects.exists()


def test_a_catalog_folder_that_does_not_exist_is_no_traceback_either(tmp_path, settings):
    settings.CATALOG_DIRS = [tmp_path / "nowhere"]
    output = io.StringIO()
    FirstWorkspace(console=Console(output)).create()
    assert "echo" in output.getvalue()
