import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect, sync_playwright

from tests.browser.desk import CHROMIUM_ARGUMENTS, PATIENCE_MS, Desk
from tests.journeys.stack import Stack
from tests.left_out import CHROMIUM


@pytest.fixture(scope="module")
def browser():
    # Playwright keeps an event loop in this thread, which Django takes for asynchronous code. So it lasts for the
    # browser's own tests only, and the tests' own queries are allowed meanwhile.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def stack(browser, child_environment):
    """The web server and the relay on the test's own database; a test starts the workers that it needs."""
    stack = Stack(child_environment)
    try:
        stack.start("web", "relay")
        yield stack
    finally:
        stack.stop()
        # Shown where the test failed.
        print(stack.output)


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def desk(stack, page):
    """An operator, signed in."""
    User.objects.create_superuser("operator", password=Desk.PASSWORD)
    desk = Desk(page, port=stack.port)
    desk.without_polling()
    desk.sign_in("operator")
    return desk
