# SPDX-License-Identifier: MIT
"""A file on a server, read at growing offsets over as many connections as it takes.

Invariant: all bytes are of one version of the file. What the server calls that version (a strong
ETag, else the date of its last change) and its length are compared at each connection; where they
differ, LinkError "http-changed": forget the state, start again. A server that knows no ranges is
read from the start, and what is there already is skipped.
"""

from agent.errors import LinkError

_NAME = 128  # a longer ETag is not kept


class Remote:
    def __init__(self, http, url, length, validator=None):
        """`length`: of the file, as signed. `validator`: what an earlier life kept, or None."""
        self._http = http
        self._url = url
        self._length = length
        self.validator = validator
        self._at = None  # where the open body stands

    async def fetch(self, offset, buffer):
        """Puts bytes from `offset` on into the buffer; returns how many, 0 only at the end.

        After a LinkError the next call connects again.
        """
        rest = self._length - offset
        if rest <= 0:
            return 0
        if len(buffer) > rest:
            buffer = memoryview(buffer)[:rest]
        at, self._at = self._at, None
        try:
            if at != offset:
                await self._open(offset)
            count = await self._http.readinto(buffer)
            if not count:
                raise LinkError("http-closed")
        except LinkError:
            await self._http.close()
            raise
        self._at = offset + count
        return count

    async def _open(self, offset):
        extra = b""
        if offset:
            extra = "Range: bytes={}-\r\n".format(offset).encode()
            if self.validator:
                extra += b"If-Range: " + self.validator + b"\r\n"
        status = await self._http.get(self._url, extra)
        headers = self._http.headers
        if status == 206 and offset:
            start, total = _content_range(headers.get(b"content-range", b""))
            if start != offset:
                raise LinkError("http-range")
        elif status == 200:
            start = 0
            total = headers.get(b"content-length")
        elif status == 416:
            raise LinkError("http-changed")
        else:
            raise LinkError("http-status", str(status))
        self._same(headers, start, total)
        await self._skip(offset - start)

    def _same(self, headers, start, total):
        if total is not None and int(total) != self._length:
            raise LinkError("http-changed" if self.validator else "http-length", str(int(total)))
        found = headers.get(b"etag", b"W/")
        if found.startswith(b"W/"):
            found = headers.get(b"last-modified")
        if found and len(found) > _NAME:
            found = None
        # A 206 may leave it out: the server has compared what If-Range said.
        if self.validator and self.validator != found and (found or start == 0):
            raise LinkError("http-changed")
        self.validator = found or self.validator

    async def _skip(self, count):
        scratch = memoryview(bytearray(min(count, 512)))
        while count:
            done = await self._http.readinto(scratch[:count])
            if not done:
                raise LinkError("http-length")
            count -= done


def _content_range(text):
    """(start, total) of "bytes start-end/total", which must reach to the end of the file."""
    unit, _, rest = text.partition(b" ")
    span, _, total = rest.partition(b"/")
    start, _, end = span.partition(b"-")
    for number in (start, end, total):
        if not 0 < len(number) < 10 or number.strip(b"0123456789"):
            raise LinkError("http-range")
    if unit != b"bytes" or not int(start) <= int(end) == int(total) - 1:
        raise LinkError("http-range")
    return int(start), int(total)
