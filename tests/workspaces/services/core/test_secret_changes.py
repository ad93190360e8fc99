"""A changed secret marks the workspaces whose launch runs with other values than the next one gets, and no others."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
from cryptography.fernet import Fernet
from django.db import connection, transaction
from django.test import override_settings

from events.models import Event
from events.names import EventType
from postgres.advisory_locks import AdvisoryLock
from postgres.clock import database_now
from tests.callers import holder
from tests.waiting import wait_until
from tests.workspaces.factories import booting, external, failed, hibernated, launching, online, queued
from tests.workspaces.races.interleaving import interleaving, orders
from workspaces.access import secrets
from workspaces.access.secret_sets import create_set
from workspaces.configuration.preflight import preflight
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Launch, Secret, Workspace
from workspaces.operations import pause, remove, restart
from workspaces.provisioners.base import BackendState, Observation
from workspaces.services.core import fields
from workspaces.services.core.secret_changes import delete_secrets, set_secrets
from workspaces.services.core.trees import lock_roots, lock_tree
from workspaces.services.launching import launch as launch_service
from workspaces.services.launching.launch import launch
from workspaces.services.stopping.remove import remove as remove_in_tree

pytestmark = pytest.mark.django_db


def marked():
    return sorted(row.name for row in Workspace.objects.all() if row.needs_restart)


def told():
    events = Event.objects.filter(event_type=EventType.WORKSPACE_NEEDS_RESTART).order_by("id")
    return [(event.subject["name"], event.payload["secrets"], event.payload["by"]) for event in events]


def attach(workspace, *names):
    fields.edit(workspace.pk, {"secret_sets": list(names)}, by="root", check=lambda row: None)


def make_set(name, **values):
    create_set(name)
    set_secrets(values, secret_set=name, by="root")


def test_only_workspaces_that_run_a_launch_and_get_another_value_are_marked_and_told_with_names_and_operator():
    make_set("llm", KEY="of the set")
    online(name="plain")
    online(name="own", secrets={"KEY": "own"})
    online(name="shared", secret_sets=["llm"])
    queued(name="queued"), failed(name="failed"), hibernated(name="hibernated"), external(name="external")
    remove(online(name="removed").pk)
    pause(online(name="paused").pk)
    booting(name="booting"), launching(name="launching")
    set_secrets({"KEY": "global", "OTHER": "x"}, by="root")
    expected = [
        *((name, ["KEY", "OTHER"], "root") for name in ("booting", "launching")),
        ("own", ["OTHER"], "root"),
        ("plain", ["KEY", "OTHER"], "root"),
        ("shared", ["OTHER"], "root"),
    ]
    assert (marked(), sorted(told())) == ([name for name, _, _ in expected], sorted(expected))


@pytest.mark.parametrize("value", ["same", "other"])
@pytest.mark.parametrize("owner", ["global", "set", "workspace"])
def test_a_secret_that_is_set_to_the_same_value_marks_nothing(owner, value):
    create_set("llm")
    workspace = online(name="w", secret_sets=["llm"])
    place = {"global": {}, "set": {"secret_set": "llm"}, "workspace": {"workspace_id": workspace.pk}}[owner]
    secrets.put_secrets({"KEY": "same"}, **({"workspace_id": None} | place))
    set_secrets({"KEY": value}, **place, by="root")
    assert marked() == ([] if value == "same" else ["w"])
    assert Secret.objects.get().version == 2


def test_a_deleted_secret_marks_unless_the_next_layer_has_the_same_value():
    set_secrets({"A": "same", "B": "global"}, by="root")
    for name in ("A", "B"):
        workspace = online(name=f"lost {name}", secrets={"A": "same", "B": "own"})
        delete_secrets(Secret.objects.filter(workspace=workspace, name=name), by="root")
    assert (marked(), told()) == (["lost B"], [("lost B", ["B"], "root")])


def test_a_change_that_is_taken_back_leaves_the_mark():
    workspace = online(name="w")
    set_secrets({"KEY": "x"}, workspace_id=workspace.pk, by="root")
    delete_secrets(Secret.objects.filter(workspace=workspace), by="root")
    assert (marked(), told()) == (["w"], [("w", ["KEY"], "root")])


def test_deleted_secrets_of_every_kind_are_told_together():
    make_set("llm", SHARED="x", SAME="x")
    set_secrets({"GLOBAL": "x", "SAME": "x"}, by="root")
    online(name="own", secrets={"OWN": "x"}, secret_sets=["llm"])
    online(name="plain")
    delete_secrets(Secret.objects.exclude(secret_set=None, name="SAME"), by="root")
    assert not Secret.objects.exclude(name="SAME").exists()
    assert sorted(told()) == [("own", ["GLOBAL", "OWN", "SHARED"], "root"), ("plain", ["GLOBAL"], "root")]


def test_another_list_of_sets_marks_if_it_gives_another_value():
    make_set("first", KEY="1", SAME="x")
    make_set("second", KEY="2", SAME="x")
    make_set("third", SAME="x")
    workspace = online(name="w", secret_sets=["first", "third"])
    attach(workspace, "third", "first")
    assert marked() == []
    attach(workspace, "first", "second")
    assert told() == [("w", ["KEY"], "root")]
    assert marked() == ["w"]


def test_a_workspace_is_told_once_until_its_next_launch_which_clears_the_mark(monkeypatch):
    workspace = online(name="w")
    for value in "abc":
        set_secrets({"KEY": value}, workspace_id=workspace.pk, by="root")
    assert (len(told()), marked()) == (1, ["w"])
    restart(workspace.pk)
    # It waits, so the launch is going to read the secrets.
    assert marked() == []
    set_secrets({"KEY": "d"}, workspace_id=workspace.pk, by="root")
    assert (len(told()), marked()) == (1, [])
    start(workspace, monkeypatch)
    assert (marked(), Workspace.objects.get().secrets_changed) == ([], False)
    set_secrets({"KEY": "e"}, workspace_id=workspace.pk, by="root")
    assert (len(told()), marked()) == (2, ["w"])


def start(workspace, monkeypatch, *, between=lambda: None):
    """Launch the workspace on a backend that starts everything; `between` happens just after its preflight.

    Return the values of KEY that it was started with.
    """
    started = []

    def prepare(row):
        prepared = preflight(row)
        between()
        return prepared

    monkeypatch.setattr(launch_service, "preflight", prepare)

    def run(spec):
        started.append(spec.environment["KEY"])
        return Observation(state=BackendState.RUNNING, url="http://127.0.0.1:4000")

    monkeypatch.setattr(launch_service, "get_provisioner", lambda kind: SimpleNamespace(start=run))
    workspace.refresh_from_db()
    launch_id = workspace.launch_id
    launch(workspace_id=workspace.pk, launch_id=launch_id, clock=database_now)
    return started


@pytest.mark.parametrize("value", ["new", "old"])
def test_a_launch_starts_with_a_secret_that_changed_after_its_preflight(monkeypatch, value):
    workspace = queued(name="w", secrets={"KEY": "old"})
    set_secrets({"KEY": "other"}, workspace_id=workspace.pk, by="root")
    set_secrets({"KEY": "old"}, workspace_id=workspace.pk, by="root")

    def change():
        set_secrets({"KEY": value}, workspace_id=workspace.pk, by="root")

    # The first attempt leaves it to be dispatched again.
    assert start(workspace, monkeypatch, between=change) == (["old"] if value == "old" else [])
    assert Launch.objects.get().dispatched_at is None
    assert start(workspace, monkeypatch) == ([] if value == "old" else ["new"])
    assert (marked(), told(), Workspace.objects.get().secrets_changed) == ([], [], False)
    set_secrets({"KEY": "later"}, workspace_id=workspace.pk, by="root")
    assert (marked(), told()) == (["w"], [("w", ["KEY"], "root")])


def test_an_unreadable_secret_that_is_set_again_marks():
    workspace = online(name="w")
    with override_settings(SECRETS_KEYS=[Fernet.generate_key().decode()]):
        secrets.put_secrets({"KEY": "lost"}, workspace_id=workspace.pk)
    set_secrets({"KEY": "lost"}, workspace_id=workspace.pk, by="root")
    assert marked() == ["w"]


def test_the_api_shows_and_filters_who_needs_a_restart():
    reader = holder(ApiScope.READ)
    for name in "ab":
        online(name=name)
    queued(name="c")
    set_secrets({"KEY": "x"}, workspace_id=Workspace.objects.get(name="a").pk, by="root")
    set_secrets({"KEY": "x"}, workspace_id=Workspace.objects.get(name="c").pk, by="root")
    assert [(row["name"], row["needs_restart"]) for row in reader.get("/workspaces").json()] == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]
    assert [row["name"] for row in reader.get("/workspaces", needs_restart="true").json()] == ["a"]
    assert [row["name"] for row in reader.get("/workspaces", needs_restart="false").json()] == ["b", "c"]
    assert reader.get("/workspaces", needs_restart="maybe").status_code == 422


def test_a_change_of_a_global_secret_costs_as_many_queries_for_many_workspaces(django_assert_max_num_queries):
    for name in range(5):
        online(name=f"w{name}")
    with django_assert_max_num_queries(26):
        set_secrets({"KEY": "x"}, by="root")
    assert len(marked()) == 5


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_once_miss_nothing():
    """Each of them alone changes nothing for the workspace; one after the other they do."""
    set_secrets({"KEY": "same"}, by="root")
    workspace = online(name="w", secrets={"KEY": "same"})
    ready = threading.Barrier(2)

    def run(change):
        ready.wait()
        try:
            change()
        finally:
            connection.close()

    own = Secret.objects.filter(workspace=workspace)
    changes = [lambda: set_secrets({"KEY": "new"}, by="root"), lambda: delete_secrets(own, by="root")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, changes))
    assert secrets.read_environment(workspace.pk) == {"KEY": "new"}
    assert marked() == ["w"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_below", [False, True], ids=["root", "below another"])
def test_a_workspace_is_created_before_a_change_of_secrets_or_after_it(monkeypatch, is_below):
    """It needs no mark, since its launch begins when the change is committed."""
    set_secrets({"KEY": "old"}, by="root")
    parent_id = online(name="before").pk if is_below else None
    original = secrets.put_secrets

    def create_one():
        try:
            return queued(name="created", parent_id=parent_id)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:

        def change_while_another_creates(*arguments, **keywords):
            original(*arguments, **keywords)
            created.append(pool.submit(create_one))
            wait_until(waits_for_secrets, seconds=20)

        created = []
        monkeypatch.setattr(secrets, "put_secrets", change_while_another_creates)
        set_secrets({"KEY": "new"}, by="root")
        workspace = created[0].result()
    assert secrets.read_environment(workspace.pk) == {"KEY": "new"}
    assert marked() == (["before"] if is_below else [])
    assert not Workspace.objects.get(pk=workspace.pk).secrets_changed


def waits_for_secrets():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s", [AdvisoryLock.SECRETS]
        )
        return cursor.fetchone() is not None


@pytest.fixture
def tree():
    """A workspace below one with a greater ID: a lock on both in the order of their IDs takes the child first."""
    child, root = sorted([online(name="a"), online(name="b")], key=lambda row: row.pk)
    secrets.put_secrets({"OLD": "x"}, workspace_id=child.pk)
    Workspace.objects.filter(pk=child.pk).update(parent_id=root.pk)
    create_set("llm")
    secrets.put_secrets({"KEY": "of the set"}, workspace_id=None, secret_set="llm")
    return SimpleNamespace(child=child, root=root)


CHANGES = {
    "global": lambda child: set_secrets({"KEY": "new"}, by="root"),
    "its own": lambda child: set_secrets({"KEY": "new"}, workspace_id=child.pk, by="root"),
    "of a set": lambda child: attach(child, "llm"),
    "deleted": lambda child: delete_secrets(Secret.objects.filter(workspace=child, name="OLD"), by="root"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_secrets_waits_for_the_root_as_the_verbs_on_trees_do(tree, change):
    pids = []

    def run():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pids.extend(cursor.fetchone())
            change(tree.child)
        finally:
            connection.close()

    def is_blocked():
        with connection.cursor() as cursor:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", pids)
            return cursor.fetchone()[0]

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            lock_roots([tree.child.pk])
            changing = pool.submit(run)
            wait_until(lambda: changing.done() or (pids and is_blocked()))
            assert not changing.done()
            # Not locked by the other one, which would be a deadlock.
            lock_tree(tree.child.pk)
        changing.result()
    assert tree.child.name in marked()


@pytest.mark.django_db(transaction=True)
def test_no_order_of_a_removal_and_a_change_of_the_workspaces_secrets_ends_in_a_deadlock():
    with interleaving() as race:
        for order in orders((3, 3)):
            workspace = online(name="w", secrets={"KEY": "x"})
            own = Secret.objects.filter(workspace=workspace)
            actions = {
                "delete": partial(delete_secrets, own, by="root"),
                "remove": partial(remove_in_tree, workspace_id=workspace.pk, confirmed=True, now=database_now()),
            }
            race.run_in_order(actions, order)
            # A deadlock would be one of the removal's failures.
            assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.REMOVED
            assert not own.all().exists()
