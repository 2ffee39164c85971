# SPDX-License-Identifier: AGPL-3.0-or-later
"""The browser of the machine, driven by Playwright (whose own browsers are not used)."""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


def find_chromium() -> str:
    """Path of a Chromium.

    Raises:
        RuntimeError: There is none; the message says how to get one.
    """
    for name in _NAMES:
        path = shutil.which(name)
        if path:
            return path
    raise RuntimeError("these tests drive Chromium: install it with `apt-get install chromium`")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser."""
    with sync_playwright() as playwright:
        browser = _launch(playwright)
        try:
            yield browser
        finally:
            browser.close()


def _launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=find_chromium())


@contextlib.contextmanager
def quiet_page(browser: Browser, **options: object) -> Iterator[Page]:
    """A page in a context of its own; fails at the end if a script failed or something was refused on it."""
    context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    try:
        yield page
    finally:
        context.close()
    assert faults == []
