"""What an operator does in the admin, in Chromium."""

import re

import pytest
from playwright.sync_api import expect

from tests.journeys.stack import wait_for_result
from tests.workspaces import factories
from workspaces.access.api_keys import find_api_key
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

BROKEN = """name: broken
runtime: echo
runtime_config:
  boot:
    - step: trip
      run: echo "no such shared object"; exit 3
"""


def test_the_page_shows_a_new_workspace_come_online(desk, stack):
    stack.start("launch")
    desk.open_create()
    desk.page.select_option("[name=template]", "echo")
    desk.page.fill("[name=name]", "mine")
    desk.page.get_by_role("button", name="Launch").click()

    expect(desk.page.get_by_text("mine was created")).to_be_visible()
    expect(desk.page.locator("[data-live=state] .slipway-status")).to_have_text("Online")


def test_a_pasted_config_that_fails_shows_why_and_the_end_of_its_log(desk, stack):
    stack.start("launch")
    desk.open_create()
    desk.page.fill("[name=config]", BROKEN)
    desk.page.get_by_role("button", name="Launch").click()

    failure = desk.page.get_by_role("region", name="Failure")
    expect(failure).to_be_visible()
    expect(failure).to_contain_text("exited with status 3")
    expect(failure.locator("pre")).to_contain_text("no such shared object")
    assert wait_for_result(Workspace.objects.get()).failure_code == "crashed"


def test_an_error_is_shown_at_its_field_and_the_input_is_kept(desk):
    desk.open_create()
    desk.page.fill("[name=config]", "name: [unfinished")
    desk.page.fill("[name=name]", "kept")
    desk.page.fill("[name=secrets]", "KEY=s3cr3t")
    desk.page.get_by_role("button", name="Launch").click()

    expect(desk.page.get_by_role("alert")).to_contain_text("Nothing was created")
    expect(desk.page.get_by_text("config.yaml is not valid YAML")).to_be_visible()
    assert desk.page.input_value("[name=config]").strip() == "name: [unfinished"
    assert desk.page.input_value("[name=name]") == "kept"
    assert desk.page.input_value("[name=secrets]") == ""
    assert "s3cr3t" not in desk.page.content()


def test_check_only_says_every_problem_and_leaves_the_form_as_it_is(desk):
    desk.open_create()
    desk.page.fill("[name=config]", "name: 5\nenv: {required: [A_KEY, B_KEY]}\n")
    desk.page.fill("[name=secrets]", "B_KEY=changeme\nC_KEY=s3cr3t-s3cr3t")
    desk.mark()
    desk.page.get_by_role("button", name="Check only").click()

    found = desk.page.get_by_role("region", name="Preflight")
    expect(found).to_contain_text("name: must be text, not a number (line 1, column 1).")
    expect(found).to_contain_text("Missing required environment variable A_KEY.")
    expect(found).to_contain_text("The value of B_KEY looks like a placeholder.")
    expect(found).not_to_contain_text("C_KEY")
    assert desk.page.input_value("[name=secrets]") == "B_KEY=changeme\nC_KEY=s3cr3t-s3cr3t"
    assert not desk.was_reloaded()
    assert "s3cr3t" not in found.inner_html()
    assert Workspace.objects.count() == 0
    assert desk.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_preflight_of_a_workspace_fits_its_page_and_is_readable(desk, scheme, width):
    text = "rutime: echo\nenv: {required: [A_KEY, {any_of: [B_KEY, A_VERY_LONG_NAME_OF_A_VARIABLE_THAT_NOBODY_SET]}]}\n"
    workspace = factories.queued(name="mine", config=text, secrets={"OTHER_KEY": "changeme"})
    desk.page.emulate_media(color_scheme=scheme)
    desk.page.set_viewport_size({"width": width, "height": 800})
    desk.open_workspace(workspace)

    panel = desk.page.get_by_role("region", name="Preflight")
    expect(panel).to_contain_text("2 problems keep its next launch from starting.")
    for region in (panel, desk.page.get_by_role("region", name="Launches")):
        assert region.evaluate("each => each.scrollWidth <= each.clientWidth"), region
    assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    contrasts = desk.page.evaluate(_CONTRASTS, ".slipway-finding *")
    assert len(contrasts) == 12
    assert min(contrasts) >= 4.5, contrasts

    panel.get_by_role("link", name="Check its backend and the launch workers, too").click()
    expect(desk.page.get_by_role("heading", name="Preflight of mine")).to_be_visible()
    expect(desk.page.get_by_role("region", name="Preflight")).to_contain_text("No launch worker is alive")
    assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_restart_and_remove_ask_before_they_act(desk):
    workspace = factories.failed(name="mine")
    desk.open_workspace(workspace)
    desk.page.get_by_role("link", name="Restart").click()
    expect(desk.page.get_by_role("heading", name="Restart mine?")).to_be_visible()
    desk.page.get_by_role("button", name="Restart").click()
    expect(desk.page.get_by_text("1 restarted.")).to_be_visible()
    expect(desk.page.locator("[data-live=state] .slipway-status")).to_have_text("Provisioning")

    desk.page.get_by_role("link", name="Remove").click()
    desk.page.get_by_role("link", name="Cancel").click()
    assert Workspace.objects.get().status == WorkspaceStatus.PROVISIONING
    desk.page.get_by_role("link", name="Remove").click()
    desk.page.get_by_role("button", name="Remove 1").click()
    expect(desk.page.get_by_text("1 removed.")).to_be_visible()
    assert Workspace.objects.get().status == WorkspaceStatus.REMOVED


def test_several_are_removed_from_the_list(desk):
    parent = factories.online(name="parent")
    factories.online(name="child", parent_id=parent.pk)
    kept = factories.online(name="kept")
    desk.open_list()

    desk.row(parent).locator("input.action-select").check()
    desk.page.select_option("select[name=action]", "remove_selected")
    desk.page.get_by_role("button", name="Run").click()
    expect(desk.page.get_by_text("Descendants that will also be removed:")).to_be_visible()
    desk.page.get_by_role("button", name="Remove 2").click()

    expect(desk.page.get_by_text("2 removed.")).to_be_visible()
    expect(desk.row(parent)).to_have_count(0)
    expect(desk.row(kept)).to_have_count(1)


def test_everything_on_the_create_page_is_reached_by_keyboard(desk):
    desk.open_create()
    fields = desk.page.evaluate("[...document.querySelectorAll('#workspace_form [id^=id_]')].map((each) => each.name)")
    desk.page.focus(f"[name={fields[0]}]")
    reached = [_focused(desk.page)]
    for _ in range(len(fields) + 2):
        desk.page.keyboard.press("Tab")
        reached.append(_focused(desk.page))

    assert {"template", "config", "name", "model", "secrets"} <= set(fields)
    assert reached == [*fields, "Launch", "_check", "Cancel"]


def test_a_row_is_opened_by_keyboard(desk):
    workspace = factories.online(name="mine")
    desk.open_list()

    desk.row(workspace).locator("a").focus()
    desk.page.keyboard.press("Enter")

    expect(desk.page).to_have_url(f"{desk.base}/admin/workspaces/workspace/{workspace.pk}/change/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_status_labels_are_readable(desk, scheme):
    for make in (factories.online, factories.failed, factories.booting):
        make()
    desk.page.emulate_media(color_scheme=scheme)
    desk.open_list()

    assert desk.page.evaluate("document.documentElement.classList.contains('dark')") is (scheme == "dark")
    contrasts = desk.page.evaluate(_CONTRASTS, "#result_list .slipway-status")
    assert len(contrasts) == 3
    assert min(contrasts) >= 4.5, contrasts


def _focused(page):
    return page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()")


# The WCAG contrast of each label. A canvas converts any colour notation.
_CONTRASTS = """(selector) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const paint = (colours) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = (pixel) => {
        const [r, g, b] = [...pixel].slice(0, 3).map((value) => value / 255)
            .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const grounds = (element) => element
        ? [...grounds(element.parentElement), getComputedStyle(element).backgroundColor] : ["white"];
    return [...document.querySelectorAll(selector)].map((label) => {
        const ground = luminance(paint(grounds(label)));
        const ink = luminance(paint([...grounds(label), getComputedStyle(label).color]));
        return (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
    });
}"""


def test_a_double_click_on_launch_makes_one_workspace(desk):
    for number in range(5):
        desk.open_create()
        desk.page.select_option("[name=template]", "echo")
        desk.page.fill("[name=name]", f"mine {number}")
        desk.page.get_by_role("button", name="Launch").dblclick()
        expect(desk.page.locator("[data-live=state]")).to_be_visible()
    assert sorted(Workspace.objects.values_list("name", flat=True)) == [f"mine {number}" for number in range(5)]


def test_the_buttons_of_a_form_are_disabled_once_it_is_sent(desk):
    desk.open_create()
    desk.page.select_option("[name=template]", "echo")
    # The answer goes to another tab, so that this page stays.
    desk.page.eval_on_selector("#workspace_form", "form => { form.target = 'elsewhere'; form.requestSubmit(); }")
    expect(desk.page.get_by_role("button", name="Launch")).to_be_disabled()


def test_a_new_key_is_copied_by_its_button_and_a_refresh_elsewhere_does_not_eat_it(desk):
    desk.page.goto(f"{desk.base}/admin/workspaces/apikey/add/")
    desk.page.fill("[name=name]", "ci")
    desk.page.get_by_label("Read").check()
    other = desk.page.context.new_page()
    desk.page.get_by_role("button", name="Save").first.click()
    other.goto(f"{desk.base}/admin/")
    key = desk.page.get_by_label("Key of ci")
    expect(key).to_have_value(re.compile("slw_.{43}"))
    assert key.input_value() not in other.content()
    desk.page.get_by_role("button", name="Copy").click()
    expect(desk.page.get_by_role("button", name="Copied")).to_be_visible()
    assert find_api_key(key.input_value()) is not None
