"""The console in a real browser, on a real server over SQLite."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright

from app.core.http.access import Role
from tests.backends import Backend
from tests.client import PASSWORD, Client
from tests.conftest import LEFT_OUT, SignIn
from tests.forked_server import ForkingProcess, forked

# The first has no windows that it would draw, which takes a sixth less time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
# Without the last ones, the browser calls its maker's hosts at each start.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# A page that is slow because the machine is busy is not wrong.
PATIENCE_MS = 60_000

OpenConsole = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("Chromium is not there.", pytrace=False)
        pytest.skip(f"{LEFT_OUT}Chromium is not there.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def server_environ() -> dict[str, str]:
    """Further settings of the server."""
    return {}


@pytest.fixture(scope="session")
def forking_process() -> Iterator[ForkingProcess]:
    process = ForkingProcess()
    yield process
    process.close()


@pytest.fixture
def server(
    backend: Backend, app: object, server_environ: dict[str, str], forking_process: ForkingProcess
) -> Iterator[str]:
    """The address of a server on the test's database."""
    with forked(forking_process, backend.settings(), **server_environ) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in(role=Role.ADMIN)


@pytest.fixture
def refusals() -> set[int]:
    """The statuses of refusals that a test is about: `refusals.add(409)`."""
    return set()


@pytest.fixture
def open_console(browser: Browser, server: str, refusals: set[int]) -> Iterator[OpenConsole]:
    """Open the console at an address, signed in as `user`: `open_console("/servers", user=admin.user)`.

    Whatever the browser's console reports as an error fails the test, and so does a request that the server refuses.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []
    refused: list[tuple[int, str]] = []

    def note_error(message: ConsoleMessage) -> None:
        if message.type == "error" and not is_refusal(message.text):
            errors.append(message.text)

    def note_refusal(response: Response) -> None:
        # By a 401 the console learns that a session has ended, or that there is none.
        if response.status >= 400 and response.status != 401 and "/api/" in response.url:
            refused.append((response.status, f"{response.request.method} {response.url}"))

    def open_console(
        address: str = "/", *, user: object = None, language: str = "en", theme: str = "light", width: int = 1280
    ) -> Page:
        context = browser.new_context(
            base_url=server,
            locale={"en": "en-GB", "zh": "zh-CN"}[language],
            color_scheme="dark" if theme == "dark" else "light",
            viewport={"width": width, "height": 800},
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", note_error)
        page.on("response", note_refusal)
        if user is not None:
            origin = {"Origin": server}
            credentials = {"username": user.username, "password": PASSWORD}  # type: ignore[attr-defined]
            answer = context.request.post("/api/auth/browser/login", data=credentials, headers=origin)
            assert answer.ok, answer.text()
        page.goto(address)
        return page

    expect.set_options(timeout=PATIENCE_MS)
    yield open_console
    for context in contexts:
        context.close()
    assert errors == []
    assert [one for one in refused if one[0] not in refusals] == []


def is_refusal(text: str) -> bool:
    """Whether it only reports the status of an answer, such as 401 before the sign-in, or that a test is offline."""
    reports = ("the server responded with a status of 4", "net::ERR_INTERNET_DISCONNECTED")
    return text.startswith(tuple(f"Failed to load resource: {report}" for report in reports))


def assert_accessible(page: Page) -> None:
    """axe-core finds nothing on the page as it is."""
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
