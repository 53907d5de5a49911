"""Pages of reports in a browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Dialog, sync_playwright


@contextmanager
def started() -> Iterator[Browser]:
    """A browser without a window; there must be one on the path."""
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        browser.close()


class Opened:
    """A page in a browser, with its errors and requests."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1300, "height": 800}} | options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(8_000)
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def _dismiss(self, dialog: Dialog) -> None:
        self.faults.append(dialog.message)
        dialog.dismiss()

    def close(self) -> None:
        """Close the page; it must have had no error and requested nothing but itself."""
        self.context.close()
        assert not self.faults
        assert {url.partition(":")[0] for url in self.requests} <= {"file", "data"}
