"""Names that would fool the eye, through each way in."""

import io

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from events.models import Channel
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting
from workspaces.configuration import catalog
from workspaces.models import ApiKey, ApiScope, Workspace

pytestmark = pytest.mark.django_db
CONFIG = "name: {}\nruntime: echo\n"

REFUSED = [
    "\u200b",
    "\u200d\u2060\ufeff",
    "\u2800 \u3164",
    "\ue000\U000f0000",
    "\ufdd0\uffff",
    "\u0378",
    "\ufff9\U0001d159",
    "adm\u202enim",
    "\u2066x",
    "x\u200f",
    "\u061c1",
    "a\x1b[2Jb",
    "two\nlines",
]
MENDED = [
    ("cafe\u0301", "caf\u00e9"),
    ("a\u00a0\u3000 b", "a b"),
    ("ad\u200bmin", "admin"),
    ("ad\ufff9min", "admin"),
    ("ad\U0001d159min", "ad min"),
    ("ad\u2800min", "ad min"),
    ("\ufeffadmin", "admin"),
    ("so\u00adft", "soft"),
    ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
    ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
]


@pytest.fixture
def admin(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


def by_api(admin, name):
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": name, "config": CONFIG.format("plain")})
    return answer.json()["fields"]["name"] if answer.status_code == 422 else ""


def by_config(admin, name):
    escaped = name.encode("unicode_escape").decode()
    quoted = '"' + escaped + '"'
    admin.post("/admin/workspaces/workspace/add/", {"config": CONFIG.format(quoted)})
    return "refused" if not Workspace.objects.exists() else ""


def by_command(admin, name):
    try:
        call_command("launch", "echo", "--name", name, stdout=io.StringIO())
    except CommandError as error:
        return str(error)
    return ""


def by_form(admin, name):
    answer = admin.post("/admin/workspaces/workspace/add/", {"template": "echo", "name": name})
    return str(answer.context["form"].errors["name"]) if answer.status_code == 200 else ""


CREATING = [by_api, by_config, by_command, by_form]


@pytest.mark.parametrize("create", CREATING)
@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_workspace_gets_no_name_that_fools_the_eye(admin, create, name):
    assert create(admin, name)
    assert not Workspace.objects.exists()


@pytest.mark.parametrize(
    ("create", "name", "kept"),
    [(create, *case) for create in (by_api, by_config, by_form) for case in MENDED],
    ids=lambda part: part.__name__ if callable(part) else ascii(part),
)
def test_a_workspace_s_name_is_kept_as_it_looks(admin, create, name, kept):
    assert create(admin, name) == ""
    assert Workspace.objects.get().name == kept


@pytest.mark.parametrize("field", ["role", "model", "runtime"])
@pytest.mark.parametrize("text", ["\u200b", "adm\u202enim"], ids=ascii)
def test_its_other_texts_are_judged_alike(field, text):
    body = {"name": "w", "config": CONFIG.format("plain"), field: text}
    answer = holder(ApiScope.OPERATE).post("/workspaces", body)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, [field])


@pytest.mark.parametrize(
    "labels",
    [
        *({"\u200b": "x"}, {"te\u202eam": "x"}, {"team": "\u200b"}, {"": "x"}, {"a": "b\nc"}),
        *({"team": "x" * 197}, {f"label {number}": "x" for number in range(51)}),
    ],
    ids=["invisible", "bidi", "empty to the eye", "no name", "two lines", "too long", "too many"],
)
def test_labels_are_judged_alike_by_the_api_and_the_form(admin, labels):
    body = {"name": "w", "config": CONFIG.format("plain"), "labels": labels}
    answer = holder(ApiScope.OPERATE).post("/workspaces", body)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["labels"])
    row = booting()
    lines = "\n".join(f"{name}={value}" for name, value in labels.items())
    form = {"name": "w", "tier": 1, "restart_policy": "never", "labels": lines}
    answer = admin.post(f"/admin/workspaces/workspace/{row.pk}/change/", form)
    assert (answer.status_code, list(answer.context["adminform"].form.errors)) == (200, ["labels"])


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_workspace_keeps_its_name_if_the_new_one_fools_the_eye(admin, name):
    row = booting(name="plain")
    form = {"name": name, "tier": 1, "restart_policy": "never"}
    answer = admin.post(f"/admin/workspaces/workspace/{row.pk}/change/", form)
    assert list(answer.context["adminform"].form.errors) == ["name"]
    assert Workspace.objects.get().name == "plain"


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_key_gets_no_name_that_fools_the_eye(admin, name):
    with pytest.raises(CommandError):
        call_command("api_key", "create", name, "--scope", "read", stdout=io.StringIO())
    answer = admin.post("/admin/workspaces/apikey/add/", {"name": name, "scopes": ["read"]})
    assert list(answer.context["adminform"].form.errors) == ["name"]
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_channel_gets_no_name_that_fools_the_eye(admin, name):
    form = {"name": name, "concurrency": 4, "timeout_seconds": 10, "level": "INFO"}
    answer = admin.post("/admin/events/channel/add/?kind=log", form)
    assert "name" in answer.context["adminform"].form.errors
    assert not Channel.objects.exists()


@pytest.mark.parametrize(("name", "kept"), MENDED, ids=ascii)
def test_keys_and_channels_are_named_as_they_look(admin, name, kept):
    call_command("api_key", "create", name, "--scope", "read", stdout=io.StringIO())
    form = {"name": name, "concurrency": 4, "timeout_seconds": 10, "level": "INFO"}
    admin.post("/admin/events/channel/add/?kind=log", form)
    assert (ApiKey.objects.get().name, Channel.objects.get().name) == (kept, kept)


@pytest.mark.parametrize(
    "folder", ["\u200b", "ec\u202eho", "ec\u200bho", b"\xff".decode(errors="surrogateescape")], ids=ascii
)
def test_a_template_whose_folder_fools_the_eye_is_listed_as_bad(admin, settings, tmp_path, folder):
    settings.CATALOG_DIRS = [tmp_path]
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "config.yaml").write_text(CONFIG.format("plain"))
    [template] = catalog.list_templates()
    assert "can't be seen" in template.problem
    assert template.id.isascii()
    assert admin.get("/admin/workspaces/workspace/add/").status_code == 200
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "w", "template": folder})
    assert answer.status_code == 422


def test_a_template_is_shown_by_a_name_that_can_be_seen(settings, tmp_path):
    settings.CATALOG_DIRS = [tmp_path]
    for folder, name in (("one", r'"\u200b"'), ("two", r'"tw\u202eo"')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.yaml").write_text(CONFIG.format(name))
    assert [each.name for each in catalog.list_templates()] == ["one", "two"]


def test_a_card_s_name_hides_nothing():
    stuck = booting()
    AgentCaller(stuck).register(agent_card={"name": "ad\u200bm\u202ein \u00a0x"})
    assert Workspace.objects.get().agent_card["name"] == "admin x"
