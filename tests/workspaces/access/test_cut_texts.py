"""Wherever a text is cut, no part of a secret or a token is left at the cut."""

import base64
import json
import urllib.parse
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.masking.credentials import AGENT_TOKEN_PREFIX, KEY_PREFIX, REST_CHARACTERS
from events.masking.decoded_text import without_escape_sequences
from events.masking.masker import LOG_TAIL_BYTES, Masker, last_bytes
from events.models import Event
from postgres.clock import database_now
from tests.callers import AgentCaller, Caller, holder
from tests.waiting import wait_until
from tests.workspaces.factories import booting, online, running_on
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.access.masking import masker_of
from workspaces.access.secrets import put_secrets
from workspaces.access.tokens import mint_agent_token, random_text
from workspaces.models import ApiScope, BackendKind, Heartbeat, Launch, Workspace
from workspaces.provisioners import registry
from workspaces.provisioners.base import BackendState, LaunchKey
from workspaces.provisioners.logs import WINDOW_BYTES, tail_of
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.watching.watch import watch_boots, watch_online

SECRET = "sk-Q7w/Zr+9t&KxT3mB=Vh2LpX8fDyNcJ5gS0aE1iUoRkMb"
# Shorter pieces tell nothing, and would be found in ordinary words.
PIECE = 4


def pieces_of(secret, length=PIECE):
    return {secret[start : start + length] for start in range(len(secret) - length + 1)}


def leaked(text, secret=SECRET, length=PIECE):
    return [piece for piece in pieces_of(secret, length) if piece in text]


SPELLINGS = {
    "plain": SECRET,
    "URL": urllib.parse.quote(SECRET, safe=""),
    "JSON": json.dumps(SECRET).replace("/", "\\/"),
    "Basic": base64.b64encode(f"me:{SECRET}".encode()).decode(),
    "coloured": "".join(f"\x1b[1m{character}" for character in SECRET),
    "hex": SECRET.encode().hex(),
    "hex with colons": SECRET.encode().hex(":").upper(),
    "hex with spaces": SECRET.encode().hex(" "),
    "od": " " + "\n ".join(SECRET[at : at + 16].encode().hex(" ") for at in range(0, len(SECRET), 16)),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("before", ["", "GET /?key="])
def test_no_offset_at_which_others_cut_a_text_leaves_a_piece(spelled, before):
    masker = Masker([SECRET])
    text = f"{before}{spelled} was refused\n"
    for offset in range(len(text)):
        for cut in (text[offset:], text[:offset], f"{text[:offset]}…", f"{text[:offset]}...\n"):
            if len(without_escape_sequences(cut).text) >= 3 * PIECE:
                assert not leaked(masker.mask(cut)), offset
                assert not leaked(masker.mask(cut), spelled, 12), offset


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("others", [2, 200])
def test_no_offset_at_which_others_cut_one_text_of_many_leaves_a_piece(spelled, others):
    masker = Masker([SECRET])
    plain = [f"text {number} of a card" for number in range(others)]
    for offset in range(PIECE, len(spelled) - PIECE):
        cut = [f"{spelled[offset:]} was refused", f"GET /?key={spelled[:-offset]}", f"GET /?key={spelled[:-offset]}…"]
        masked = masker.mask_all([plain[0], *cut, *plain[1:]])
        assert not leaked("\n".join(masked)), offset
        assert not leaked("\n".join(masked), spelled, 12), offset
        assert [masked[0], *masked[-len(plain) + 1 :]] == plain


@pytest.mark.parametrize("secret", [SECRET, base64.b64encode(bytes(range(256)) * 3).decode()], ids=["short", "long"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_each_of_many_texts_is_masked_as_it_is_alone(secret, data):
    masker = Masker([secret, SECRET])
    offsets = st.integers(min_value=0, max_value=len(secret))
    frames = st.sampled_from(["{}", "{} was refused", "GET /?key={}", "GET /?key={}…", "x{}", "{}%4", "31m{}"])
    cuts = st.tuples(offsets, offsets, frames).map(lambda cut: cut[2].format(secret[slice(*sorted(cut[:2]))]))
    texts = data.draw(st.lists(cuts, min_size=12, max_size=12))
    assert masker.mask_all(texts) == [masker.mask(text) for text in texts]


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.sampled_from(["", "an ordinary line", "ä" * 50, "{}", "{} {}"]), max_size=60), data=st.data())
def test_no_line_and_no_cut_of_a_log_leaves_a_piece(spelled, lines, data):
    text = "\n".join([*(line.format(spelled, spelled) for line in lines), spelled, "the end\n"])
    raw = text.encode()
    offset = data.draw(st.integers(0, len(raw)))
    kept = data.draw(st.integers(1, 2_000))
    masked = Masker([SECRET]).mask(raw[offset:].decode(errors="replace"))
    assert not leaked(last_bytes(masked, limit_bytes=kept))


@pytest.mark.django_db
@pytest.mark.parametrize("line_end", ["\n", " "])
@pytest.mark.parametrize("kept", [LOG_TAIL_BYTES, WINDOW_BYTES])
def test_no_offset_at_which_a_log_file_is_cut_leaves_a_piece(tmp_path, kept, line_end):
    workspace = booting(secrets={"KEY": SECRET})
    token = mint_agent_token(workspace)
    log = tmp_path / "log"
    for offset in range(0, len(SECRET + token), 1 if kept == LOG_TAIL_BYTES else 7):
        begin = f"begin\n{SECRET}{token}{line_end}"
        rest = "." * (kept - len((SECRET + token + line_end)[offset:]) - 1)
        log.write_text(f"{begin}{rest}\n")
        tail = masker_of(workspace.pk).mask_log_tail(tail_of(log))
        assert not leaked(tail), offset
        assert not leaked(tail, token, 8), offset
        assert tail.endswith("...\n")


@pytest.mark.django_db
def test_each_rest_of_any_credential_at_the_begin_of_a_log_is_masked():
    masker = masker_of(booting().pk)
    # Of purely random ones, one in fifteen ends with 16 characters without a digit.
    for text in (random_text() for _ in range(300)):
        for at in (0, len(text) - 16):
            assert not leaked(masker.mask_log_tail(f"{text[at:]}\nnewer\n"), text, 16)


SPELL = {
    "Base64": lambda text: base64.b64encode(text.encode()).decode(),
    "Basic": lambda text: base64.b64encode(f"me:{text}".encode()).decode(),
    "Base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "Base64 of Basic": lambda text: base64.b64encode(base64.b64encode(f"agent:{text}".encode())).decode(),
    "hex": lambda text: text.encode().hex(),
    "hex in capitals": lambda text: text.encode().hex().upper(),
    "hex with colons": lambda text: text.encode().hex(":"),
    "hex with spaces": lambda text: text.encode().hex(" "),
    "hex in groups": lambda text: text.encode().hex(" ", -2),
    "od": lambda text: " " + "\n ".join(text[at : at + 16].encode().hex(" ") for at in range(0, len(text), 16)),
    "URL": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "JSON": lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    "C": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "HTML": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "coloured": lambda text: "".join(f"\x1b[1m{character}" for character in text),
}


@pytest.mark.parametrize("spell", SPELL.values(), ids=SPELL)
def test_no_offset_at_which_a_log_is_cut_leaves_sixteen_characters_of_an_encoded_credential(spell):
    masker = Masker([])
    for token in (AGENT_TOKEN_PREFIX + random_text(), KEY_PREFIX + random_text()):
        spelled = spell(token)
        # A cut may leave a part of a group of Base64 in front of it.
        characters = REST_CHARACTERS * len(spelled) // len(token) + 8
        for offset in range(len(spelled)):
            tail = masker.mask_log_tail(f"{spelled[offset:]}\n(newer)\n")
            assert not leaked(tail, spelled, characters), offset
            assert not leaked(tail, token, REST_CHARACTERS), offset
            assert tail.endswith("(newer)\n")


@pytest.mark.django_db
def test_no_offset_at_which_a_log_was_rotated_leaves_a_piece(tmp_path):
    workspace = booting(secrets={"KEY": SECRET})
    token = mint_agent_token(workspace)
    for offset in range(len(SECRET + token)):
        (tmp_path / "log.1").write_text(f"{(SECRET + token)[offset:]}\nolder\n")
        (tmp_path / "log").write_text("newer\n")
        tail = masker_of(workspace.pk).mask_log_tail(tail_of(tmp_path / "log"))
        assert not leaked(tail), offset
        assert not leaked(tail, token, 16), offset
        assert tail.endswith("older\nnewer\n")


# --- Each way in ---------------------------------------------------------------------------------------------


def reported_by_agent(agent, text, fake):
    assert agent.failed(error=f"It said {text}"[:4100], log_tail=text).status_code == 200


def reported_by_watcher(agent, text, fake):
    body = {"error": text, "log_tail": text}
    assert holder(ApiScope.WATCH).post(f"/admin/workspaces/{agent.workspace.pk}/bootstrap-failed", body).json()["ok"]


def ended_while_booting(agent, text, fake):
    fake.simulate_exit(running_on(fake, agent.workspace), exit_code=1, log_tail=text)
    watch_boots(clock=database_now)


def said_that_it_failed(agent, text, fake):
    fake.append_log(running_on(fake, agent.workspace), f"{text}\nSLIPWAY-BOOTSTRAP-FAILED: {text[-4_100:]}")
    watch_boots(clock=database_now)


def ended_while_online(agent, text, fake):
    agent.register()
    fake.simulate_exit(running_on(fake, agent.workspace), exit_code=1, log_tail=text)
    watch_online(clock=database_now)


def sent_in_a_heartbeat(agent, text, fake):
    agent.register()
    assert agent.beat(error_rate=0.9, sample_error=text, current_task=text).status_code == 200


def sent_as_a_step(agent, text, fake):
    cut = text.strip(".").split("\n")[0]
    assert agent.progress(step=f"{'.' * (200 - len(SECRET))}{cut}").status_code == 200


def sent_as_a_card(agent, text, fake):
    agent.register(agent_card={"name": text[:3000], text[-3000:]: [text[-2000:]], "last": "a harmless text"})


WAYS = [
    *(reported_by_agent, reported_by_watcher, ended_while_booting, said_that_it_failed),
    *(ended_while_online, sent_in_a_heartbeat, sent_as_a_step, sent_as_a_card),
]


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("offset", [1, 7, 23, 46, 60, 90])
def test_a_cut_secret_reaches_neither_row_nor_event_nor_answer_on_any_way(fake, way, offset):
    agent = AgentCaller(booting())
    put_secrets({"KEY": SECRET}, workspace_id=agent.workspace.pk)
    token = mint_agent_token(agent.workspace)
    # Cut at what is kept of a log, and of an error.
    cut = SECRET + token
    text = f"{cut}\n{'.' * (LOG_TAIL_BYTES - len(cut[offset:]) - 200 - len(cut))}\n{cut}{'.' * (200 - offset)}\n"
    text = "." * (4000 - offset) + text
    way(agent, text, fake)
    told = list(Event.objects.filter(workspace_id=agent.workspace.pk).values_list("payload", flat=True))
    rows = [
        *Workspace.objects.filter(pk=agent.workspace.pk).values(),
        *Heartbeat.objects.filter(pk=agent.workspace.pk).values(),
        *Launch.objects.filter(workspace_id=agent.workspace.pk).values(),
    ]
    answer = holder(ApiScope.READ).get(f"/workspaces/{agent.workspace.pk}").json()
    assert "•" in str(rows)
    for told_or_stored in (told, rows, answer):
        assert not leaked(str(told_or_stored), length=6)
        assert not leaked(str(told_or_stored), token, 8)


@pytest.mark.django_db
def test_an_agent_token_is_masked_in_base64_and_without_its_prefix():
    workspace = online()
    token = mint_agent_token(workspace)
    mask = masker_of(workspace.pk).mask_log_tail
    for user in ("", "a:", "ab:", "abc:"):
        encoded = base64.b64encode(f"{user}{token}".encode()).decode()
        assert not leaked(mask(f"Authorization: Basic {encoded}\n"), encoded[len(user) * 2 :], 8)
    external = create(CreateRequest(name="theirs", external=True), now=database_now())
    assert external.token not in masker_of(external.workspace.pk).mask_log_tail(f"x{external.token}y")
    assert Caller(external.token).post("/registry/heartbeat", {"workspace_id": str(external.workspace.pk)}).json()


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The process backend in a folder of its own."""
    made = ProcessWorld(tmp_path / "root")
    monkeypatch.setitem(registry.ADAPTERS, BackendKind.PROCESS, lambda: made.backend)
    registry.get_provisioner.cache_clear()
    yield made
    made.clean_up()
    registry.get_provisioner.cache_clear()


@pytest.mark.django_db
@pytest.mark.parametrize("offset", [5, 30, 70])
def test_a_real_process_whose_log_is_cut_inside_of_its_secret_or_token_shows_no_piece(world, offset):
    workspace = booting(secrets={"KEY": SECRET})
    token = mint_agent_token(workspace)
    kept = len((SECRET + token)[offset:])
    zeros = f"head -c {LOG_TAIL_BYTES - kept - 2} /dev/zero | tr '\\0' 0; echo"
    printed = f'echo "$KEY$WORKSPACE_TOKEN"; {zeros}; until [ -e go ]; do sleep 0.05; done; kill -KILL $PPID'
    spec = world.spec(printed, workspace_id=workspace.pk, KEY=SECRET, WORKSPACE_TOKEN=token)
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    world.keys.append(key)
    world.backend.start(replace(spec, key=key))
    wait_until(lambda: world.backend.inspect(key).log_tail.endswith("000\n"))
    (world.folder(key).work / "go").touch()
    wait_until(lambda: world.backend.inspect(key).state is BackendState.EXITED)
    watch_boots(clock=database_now)
    workspace.refresh_from_db()
    assert workspace.failure_log_tail.endswith("000\n")
    answer = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}").json()
    for text in (workspace.failure_log_tail, str(Event.objects.latest("id").payload), str(answer)):
        assert not leaked(text)
        assert not leaked(text, token, 8)
