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
OWN_NAMES = ("localhost", LOOPBACK, "::1")  # names of this server; requests under any other name are refused
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
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page itself has the rest
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOOK_SECONDS = 1.0  # between looks at the run
REST = 10  # wait so many times the last rendering's duration: rendering takes time from measured cores

Files = Mapping[str, bytes]


class Server(ThreadingHTTPServer):
    """Serves the files that it was last given, from memory: a request never reads the disk."""

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
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def show(self, files: Files) -> None:
        """Serve these files from now on; open pages reload themselves."""
        version = hashlib.sha256(files[PAGE]).hexdigest()[:16]
        live = f'<html data-live="{version}" '.encode()
        self._files = {**files, PAGE: files[PAGE].replace(b"<html ", live, 1)}
        self.version = version

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that closed its connection early; Python reports other errors."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """The content type and the content for a path; None if there is no such file."""
        try:
            name = unquote(urlsplit(path).path).removeprefix("/") or PAGE
        except ValueError:  # it is no address
            return None
        if name == "version":
            return "text/plain", self.version.encode()
        content = self._files.get(name)
        return None if content is None else (TYPES[name.rpartition(".")[2]], content)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD requests that call this server by a name of this machine."""

    server: Server
    server_version = "rnnbench"
    sys_version = ""
    timeout = 10  # seconds to wait for a request

    def do_GET(self) -> None:
        """Send the requested file."""
        self._send(is_head=False)

    def do_HEAD(self) -> None:
        """Send the headers of the requested file."""
        self._send(is_head=True)

    def _send(self, *, is_head: bool) -> None:
        # Otherwise a site could point its own name at this machine, and its page could read the report.
        if not _is_own(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this server is for this machine alone")
            return
        reply = self.server.answer(self.path)
        if reply is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, content = reply
        self.send_response(HTTPStatus.OK)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind if kind.startswith("image/png") else f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not is_head:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: requests are not worth a line each."""


def _is_own(host: str) -> bool:
    """Whether a `Host` header names this machine; the port may be any, since a tunnel may change it."""
    try:
        return urlsplit(f"//{host}").hostname in OWN_NAMES
    except ValueError:
        return False


def state(run: Path) -> tuple[tuple[str, int, int], ...]:
    """The files of a run with their sizes and times, which change with the run."""
    files = [(file.name, file.stat()) for file in sorted(run.glob("*.json*")) if file.suffix != ".new"]
    return tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in files)


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

    Rendering may fail while the run is being written: the last page stays, `tell` reports the error once, and rendering
    is tried again. Raises UserError if the first page can't be rendered.
    """
    seen, last_error = state(run), ""
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
                seen, last_error = now, ""
            except (UserError, OSError) as error:
                if str(error) != last_error:
                    last_error = str(error)
                    tell(f"the page stays as it is: {printable(str(error))}")
            sleep(REST * (clock() - started))
    except KeyboardInterrupt:
        tell("stopped serving")
    finally:
        server.shutdown()
