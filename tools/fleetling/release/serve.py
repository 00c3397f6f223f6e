# SPDX-License-Identifier: MIT
"""A static web server for the bench: what is published of a repository, as a CDN would serve it.

Ranges with strong validators (RFC 9110: 8.8.3, 13.1.5, 14), and connections that stay open.
Nothing but metadata/ and targets/ is served. For the field, take any web server.
"""

from __future__ import annotations

import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fleetling.errors import FleetlingError

__all__ = ["make_server"]

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
IDLE_S = 60


def make_server(folder: Path, host: str, port: int, *, quiet: bool = False) -> ThreadingHTTPServer:
    """A server for the repository in `folder`, listening; port 0 takes a free one.

    Raises:
        FleetlingError: it cannot listen there.
    """

    class Handler(_Handler):
        root = folder.resolve()
        silent = quiet

    try:
        return _Server((host, port), Handler)
    except OSError as e:
        raise FleetlingError(
            f"{host}:{port} cannot be listened on: {e.strerror}", "Choose another --port."
        ) from e


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A board that hangs up is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fleetling"
    sys_version = ""
    timeout = IDLE_S
    root = Path()
    silent = False

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        data = self._content()
        if data is None:
            self._send(404, b"", {}, body=body)
            return
        tag = '"' + hashlib.sha256(data).hexdigest()[:32] + '"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Type": self._kind()}
        if tag in [each.strip() for each in self.headers.get("If-None-Match", "").split(",")]:
            self._send(304, b"", headers, body=False)
            return
        wanted = self.headers.get("Range")
        if wanted is None or self.headers.get("If-Range", tag) != tag:
            self._send(200, data, headers, body=body)
            return
        span = _span(wanted, len(data))
        if span is None:
            self._send(200, data, headers, body=body)
        elif span[0] >= span[1]:
            self._send(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"}, body=body)
        else:
            first, end = span
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
            self._send(206, data[first:end], headers, body=body)

    def _content(self) -> bytes | None:
        path = (self.root / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        parts = path.relative_to(self.root).parts if path.is_relative_to(self.root) else ()
        hidden = any(part.startswith(".") for part in parts)
        if parts[:1] not in (("metadata",), ("targets",)) or hidden or not path.is_file():
            return None
        try:
            return path.read_bytes()
        except OSError:
            return None

    def _kind(self) -> str:
        return "application/json" if self.path.endswith(".json") else "application/octet-stream"

    def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        if not self.silent:
            super().log_message(format, *args)


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """(first, end) of one range; None where it is none that has to be understood."""
    found = _RANGE.fullmatch(wanted.strip())
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    first = int(found[1])
    end = min(int(found[2]) + 1, size) if found[2] else size
    return None if found[2] and int(found[2]) < first else (first, end)
