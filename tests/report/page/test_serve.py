import http.client
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from rnnbench.errors import UserError
from rnnbench.report.figures.all_figures import Picture
from rnnbench.report.page import files
from rnnbench.report.page.page import PAGE
from rnnbench.report.page.serve import LOOK_SECONDS, REST, Handler, Server, follow
from rnnbench.report.tables.table import Column, of, table

FILES = {PAGE: b'<!doctype html><html lang="en">one', "figures/ratio.svg": b"<svg/>", "tables/ratios.csv": b"cell\n"}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(0) as started:
        started.show(FILES)
        threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield started
        started.shutdown()


def ask(server: Server, path: str, *, host: str = "", method: str = "GET") -> tuple[int, str, bytes]:
    """Send a request and return the status, type and content of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"localhost:{server.server_address[1]}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers.get("Content-Type", ""), content


def test_a_path_that_is_no_address_is_not_found(server: Server) -> None:
    assert ask(server, "http://[")[0] == 404


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10)


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST[:-2], REQUEST, REQUEST * 3])
def test_a_client_that_goes_away_leaves_no_trace(
    server: Server, sent: bytes, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.show(FILES | {PAGE: b"<html >" + b"x" * 50_000_000})  # more than the system takes at once
    faults: list[type[BaseException] | None] = []
    ended = threading.Event()

    def watched(request: socket.socket, address: object) -> None:
        faults.append(sys.exc_info()[0])
        handle_error(request, address)
        ended.set()

    handle_error = server.handle_error
    monkeypatch.setattr(server, "handle_error", watched)
    for _ in range(3):
        client = connected(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
        client.sendall(sent)
        client.close()
    if sent.startswith(REQUEST):
        assert ended.wait(10)
        assert issubclass(faults[0] or Exception, ConnectionError)
    assert ask(server, "/version")[0] == 200  # it still serves
    assert capfd.readouterr() == ("", "")


def test_a_client_that_never_ends_its_request_is_left_alone_after_a_while(
    server: Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.1)
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert client.recv(1) == b""  # the server has closed it
    assert capfd.readouterr() == ("", "")


def test_a_fault_of_the_server_itself_is_still_told(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        server.handle_error(b"", ("127.0.0.1", 1))
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_the_report_and_its_files_are_served_on_loopback_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    status, kind, content = ask(server, "/?cell=lstm")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert content == f'<!doctype html><html data-live="{server.version}" lang="en">one'.encode()
    assert ask(server, "/version")[2] == server.version.encode()
    assert ask(server, "/figures/ratio.svg")[1:] == ("image/svg+xml; charset=utf-8", b"<svg/>")
    assert ask(server, "/tables/ratios.csv", method="HEAD") == (200, "text/csv; charset=utf-8", b"")


def test_every_kind_of_file_that_a_report_has_is_served(server: Server) -> None:
    frame = pd.DataFrame({"what": ["cell"]})
    shown = table("ratios", "Ratios", "", [Column("what", of("what"))], frame, machine=frame)
    beside = files.beside({"ratio": Picture("ratio", "", "", "<svg/>", b"png")}, {"ratios": shown})
    server.show(FILES | beside)
    assert {name: ask(server, f"/{name}")[0] for name in beside} == dict.fromkeys(beside, 200)


@pytest.mark.parametrize(
    "path",
    [
        "/figures/",
        "/tables",
        "/../run.json",
        "/%2e%2e/run.json",
        "/figures/../../pyproject.toml",
        "//etc/passwd",
        "/tables/ratios.csv%00",
    ],
)
def test_nothing_else_is_served(server: Server, path: str) -> None:
    status, _, content = ask(server, path)
    assert status == 404
    assert b"project" not in content


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "[", "127.0.0.1.nip.io"])
def test_a_name_that_is_not_this_machines_is_turned_away(server: Server, host: str) -> None:
    status, _, content = ask(server, "/", host=host)
    assert status == 421
    assert b"one" not in content.replace(b"alone", b"")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "[::1]:80"])
def test_this_machine_is_served_by_each_of_its_names_on_any_port(server: Server, host: str) -> None:
    assert ask(server, "/", host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(server: Server, method: str) -> None:
    assert ask(server, "/", method=method)[0] == 501


def test_a_port_in_use_is_the_users_error(server: Server) -> None:
    port = server.server_address[1]
    with pytest.raises(UserError, match=rf"port {port}: can't be served on: Address already in use; choose another"):
        Server(port)


class Story:
    """A clock that runs the next moment at each sleep of `LOOK_SECONDS`; after the last one comes Ctrl-C."""

    def __init__(self, *moments: Callable[[], object]) -> None:
        self.moments = list(moments)
        self.slept: list[float] = []
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if seconds == LOOK_SECONDS:
            if not self.moments:
                raise KeyboardInterrupt
            self.moments.pop(0)()

    def clock(self) -> float:
        return self.now


def test_the_page_follows_the_run_and_outlives_what_cannot_be_rendered(tmp_path: Path) -> None:
    messages: list[str] = []
    served: list[str] = []
    file = tmp_path / "windows-0.jsonl"
    file.write_text("1")

    def grow() -> None:
        file.write_text(file.read_text() + "1")

    def render() -> dict[str, bytes]:
        story.now += 0.5
        content = file.read_text()
        if content in ("111", "1111"):
            raise UserError(f"{file.name}: half a line\x1b[31m")
        return FILES | {PAGE: f"<html >{content}".encode()}

    def look() -> None:
        answer = server.answer("/")
        served.append(answer[1].decode().partition(">")[2] if answer else "")

    story = Story(look, grow, look, grow, grow, look, grow, look)
    with Server(0) as server:
        follow(server, tmp_path, render, messages.append, ready=look, clock=story.clock, sleep=story.sleep)
    assert served == ["1", "1", "11", "11", "11111"]
    assert messages == ["the page stays as it is: windows-0.jsonl: half a line\ufffd[31m", "stopped serving"]
    rests = [seconds for seconds in story.slept if seconds != LOOK_SECONDS]
    assert rests == pytest.approx([REST * 0.5] * 5)  # three tries failed, since the look between them tries again


def test_a_first_page_that_cannot_be_rendered_is_the_users_error(tmp_path: Path) -> None:
    def render() -> dict[str, bytes]:
        raise UserError("no run")

    with Server(0) as server, pytest.raises(UserError, match="no run"):
        follow(server, tmp_path, render, print, ready=lambda: None)
