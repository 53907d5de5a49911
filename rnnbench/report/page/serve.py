"""A report served on loopback and rendered again while its run goes on."""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rnnbench.errors import UserError
from rnnbench.report.page.page import PAGE
from rnnbench.text import printable

LOOPBACK = "127.0.0.1"
OWN_NAMES = ("localhost", LOOPBACK, "::1")  # what a browser calls this server; any other name is not its own
TYPES = {
    "html": "text/html",
    "svg": "image/svg+xml",
    "png": "image/png",
    "csv": "text/csv",
    "md": "text/markdown",
    "tex": "application/x-tex",
}
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page has the rest
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOOK_SECONDS = 1.0  # between looks at the run
REST = 10  # times what the last rendering took passes before the next: it takes time from cores that are measured

Files = Mapping[str, bytes]


class Server(ThreadingHTTPServer):
    """Serves the files that it was last given, from memory: it never looks at the disk for what it is asked."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        try:
            super().__init__((LOOPBACK, port), Handler)
        except OSError as error:
            raise UserError(f"port {port}: can't be served on: {error.strerror}; choose another, or none") from None
        self._files: Files = {}
        self.version = ""

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def show(self, files: Files) -> None:
        """Serve these from now on; pages that are open load themselves again."""
        version = hashlib.sha256(files[PAGE]).hexdigest()[:16]
        live = f'<html data-live="{version}" '.encode()
        self._files = {**files, PAGE: files[PAGE].replace(b"<html ", live, 1)}
        self.version = version

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone before it had all, and let Python tell of other faults."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """The type and content of what is asked for; None where there is no such thing."""
        name = unquote(urlsplit(path).path).removeprefix("/") or PAGE
        if name == "version":
            return "text/plain", self.version.encode()
        content = self._files.get(name)
        return None if content is None else (TYPES[name.rpartition(".")[2]], content)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for a browser that calls this server by a name of this machine."""

    server: Server
    server_version = "rnnbench"
    sys_version = ""
    timeout = 10  # seconds for a request to come

    def do_GET(self) -> None:
        """Send what is asked for."""
        self._send(is_head=False)

    def do_HEAD(self) -> None:
        """Send its headers."""
        self._send(is_head=True)

    def _send(self, *, is_head: bool) -> None:
        # A page of another site whose name was pointed here would otherwise read the report.
        if not _is_own(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this server is for this machine alone")
            return
        found = self.server.answer(self.path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, content = found
        self.send_response(HTTPStatus.OK)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind if kind.startswith("image/png") else f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not is_head:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not worth a line each."""


def _is_own(host: str) -> bool:
    """Whether a `Host` header names this machine, on whatever port it is reached through a tunnel."""
    try:
        return urlsplit(f"//{host}").hostname in OWN_NAMES
    except ValueError:
        return False


def state(run: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that a run has changed: its files with their sizes and times."""
    found = [(file.name, file.stat()) for file in sorted(run.glob("*.json*")) if file.suffix != ".new"]
    return tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in found)


def follow(
    server: Server,
    run: Path,
    render: Callable[[], Files],
    tell: Callable[[str], None],
    *,
    ready: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Render and serve, call `ready`, and render again whenever the run has changed, until Ctrl-C.

    What can't be rendered, since the run is just being written, is told once and tried again; the last page stays.
    Raises UserError where the first page can't be rendered.
    """
    seen, told = state(run), ""
    server.show(render())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready()
    try:
        while True:
            sleep(LOOK_SECONDS)
            started = clock()
            try:
                now = state(run)
                if now == seen:
                    continue
                server.show(render())
                seen, told = now, ""
            except (UserError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    tell(f"the page stays as it is: {printable(str(error))}")
            sleep(REST * (clock() - started))
    except KeyboardInterrupt:
        tell("stopped serving")
    finally:
        server.shutdown()
