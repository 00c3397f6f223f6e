# SPDX-License-Identifier: MIT
"""A static web server in the virtual network: files by path, with what goes wrong on request.

    server = FileServer({"a.json": b"{}"})
    net.host("files.lan", 80, server.handle)

HTTP/1.1 (RFC 9110): GET, one range, strong ETag, If-Range, keep-alive.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

__all__ = ["FileServer"]

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_PIECE = 1460


class FileServer:
    """Serves `files`, or what `find(path)` gives.

    Attributes:
        requests: the paths that were asked for, in order.
        sent: bytes of bodies that went out.
        status: what every request is answered with instead, where it is set.
        ranges: whether it knows ranges.
        instead: gives the pieces of a whole answer to a path, perhaps without end, which are sent
            as they stand before the server hangs up; or None.
    """

    def __init__(
        self, files: Mapping[str, bytes] | Callable[[str], bytes | None] | None = None
    ) -> None:
        self.files: Mapping[str, bytes] | Callable[[str], bytes | None] = files or {}
        self.requests: list[str] = []
        self.sent = 0
        self.status = 0
        self.ranges = True
        self.instead: Callable[[str], Iterable[bytes] | None] = lambda path: None

    def _find(self, path: str) -> bytes | None:
        return self.files(path) if callable(self.files) else self.files.get(path)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers requests until the other side hangs up."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line, *rows = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, found, value in (row.partition(":") for row in rows)
                if found
            }
            self.requests.append(line.split(" ")[1].removeprefix("/"))
            pieces = self.instead(self.requests[-1])
            if pieces is not None:
                await self._send(writer, pieces)
                return
            status, extra, body = self._answer(self.requests[-1], headers)
            lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *extra]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            await self._send(
                writer, (body[at : at + _PIECE] for at in range(0, len(body), _PIECE))
            )

    async def _send(self, writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)

    def _answer(self, path: str, headers: dict[str, str]) -> tuple[str, list[str], bytes]:
        body = self._find(path)
        if self.status:
            return f"{self.status} As ordered", [], b""
        if body is None:
            return "404 Not Found", [], b""
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        extra = [f"ETag: {tag}"]
        wanted = _RANGE.match(headers.get("range", ""))
        if not wanted or not self.ranges or headers.get("if-range", tag) != tag:
            return "200 OK", extra, body
        start = int(wanted[1])
        end = min(int(wanted[2] or len(body) - 1), len(body) - 1)
        if start > end:
            return "416 Range Not Satisfiable", extra, b""
        extra.append(f"Content-Range: bytes {start}-{end}/{len(body)}")
        return "206 Partial Content", extra, body[start : end + 1]
