# SPDX-License-Identifier: MIT
"""`release serve`: ranges, validators, connections that stay, and nothing but what is public."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from fleetling.errors import FleetlingError
from fleetling.release.serve import make_server

DATA = bytes(range(256)) * 4
FILE = "/targets/pump/abc.1.0.app"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    for name in ("targets/pump/abc.1.0.app", "staged/x", "sources/x", "targets/.new-1", ".lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(DATA)
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/timestamp.json").write_bytes(b"{}")
    with make_server(tmp_path, "127.0.0.1", 0, quiet=True) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        made = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        yield made
        made.close()
        server.shutdown()


def get(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_one_connection_for_all_requests(connection: http.client.HTTPConnection) -> None:
    status, headers, body = get(connection, FILE)
    first = connection.sock
    assert (status, body) == (200, DATA) and headers["Accept-Ranges"] == "bytes"
    tag = headers["ETag"]
    assert tag.startswith('"') and tag.endswith('"')
    assert get(connection, "/metadata/timestamp.json")[1]["Content-Type"] == "application/json"
    status, headers, body = get(connection, FILE, "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "1024", b"")
    assert get(connection, FILE, If_None_Match=tag)[0] == 304
    assert get(connection, "/metadata/nothing.json")[0] == 404
    assert connection.sock is first


@pytest.mark.parametrize(
    ("wanted", "status", "first", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-", 206, 100, 1024),
        ("bytes=-24", 206, 1000, 1024),
        ("bytes=-9999", 206, 0, 1024),
        ("bytes=1000-9999", 206, 1000, 1024),
        ("bytes=1024-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-5", 200, 0, 1024),
        ("bytes=-", 200, 0, 1024),
        ("bytes=0-1,5-6", 200, 0, 1024),
        ("lines=0-1", 200, 0, 1024),
    ],
)
def test_ranges(
    connection: http.client.HTTPConnection, wanted: str, status: int, first: int, end: int
) -> None:
    found, headers, body = get(connection, FILE, Range=wanted)
    assert (found, body) == (status, DATA[first:end])
    if status == 206:
        assert headers["Content-Range"] == f"bytes {first}-{end - 1}/1024"
    if status == 416:
        assert headers["Content-Range"] == "bytes */1024"


def test_a_range_of_a_file_that_changed_is_all_of_it(
    connection: http.client.HTTPConnection,
) -> None:
    tag = get(connection, FILE)[1]["ETag"]
    assert get(connection, FILE, Range="bytes=5-9", If_Range=tag)[2] == DATA[5:10]
    status, _, body = get(connection, FILE, Range="bytes=5-9", If_Range='"other"')
    assert (status, body) == (200, DATA)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/metadata", "/staged/x", "/sources/x", "/.lock", "/targets/.new-1"),
        *(
            "/metadata/../staged/x",
            "/metadata/%2e%2e/staged/x",
            "/../../etc/passwd",
            "//etc/passwd",
        ),
    ],
)
def test_nothing_else_is_served(connection: http.client.HTTPConnection, path: str) -> None:
    assert get(connection, path)[0] == 404


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(FleetlingError, match="cannot be listened on"),
    ):
        make_server(tmp_path, "127.0.0.1", taken.getsockname()[1])
