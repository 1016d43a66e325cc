"""A browser to look at pages with: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.watched import Open, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Request

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def lacking(reason: str) -> None:
    """Without a browser, tests are skipped; where CI is set, they fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for longer than a module: while it runs, no other test could start an event loop.
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        lacking("there is no chromium (Debian: apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("there is no playwright (pip install 'migbench[dev]')")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page, and sees to it that none has complained or asked for what is not its own."""
    opened: list[Watched] = []

    def opening(
        page: Path | str,
        state: str = "",
        *,
        width: int = 1280,
        height: int = 900,
        ready: str = ".view:not([hidden])",
        **options: Any,
    ) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(60_000)
        watched = Watched(context.new_page())
        opened.append(watched)

        def asked(request: Request) -> None:
            watched.requests.append(request.url)

        context.on("request", asked)
        watched.page.on(
            "console",
            lambda said: (
                watched.complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.on("dialog", lambda dialog: watched.complaints.append(dialog.message))
        address = page if isinstance(page, str) else page.as_uri()
        watched.page.goto(address + (f"#{state}" if state else ""))
        watched.page.wait_for_selector(ready)
        return watched

    yield opening
    complaints = [complaint for watched in opened for complaint in watched.complaints]
    for watched in opened:
        watched.page.context.close()
    assert not complaints
