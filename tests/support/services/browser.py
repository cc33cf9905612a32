"""Debian's Chromium, without a window and without a network, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAM = "chromium"


def find_browser() -> str | None:
    """The path of the browser; None if it is not installed."""
    return shutil.which(PROGRAM)


@contextmanager
def browsing(program: str) -> Iterator[Any]:
    """A browser that runs until the end."""
    from playwright.sync_api import sync_playwright  # loads slowly

    with sync_playwright() as playwright:
        # root may not use the browser's own sandbox; the network is off for it as for the suite
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()
