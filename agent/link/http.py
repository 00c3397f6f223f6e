# SPDX-License-Identifier: MIT
"""An HTTP/1.1 client for files (RFC 9110, 9112): GET, ranges, few and small buffers.

Invariants:
- Nothing is unbounded: header 4 KB, 512 bytes of a line (a longer one is skipped), 3 redirects,
  each wait `idle_s`, the whole job `deadline_s`, and a server slower than `least` bytes a second
  is left.
- A redirect changes neither the scheme, nor the host unless the other one is allowed.
- Bytes of two versions of a file never meet: what tells versions apart (ETag, else date, and the
  length) is sent along, compared, and a difference is LinkError "http-changed".
- Every failure is a LinkError; the connection is closed then, and the next call makes a new one.
- Who waits is timed by one watching task for all waits: a time-out for each would cost more than
  the reading. It is gone at the latest `idle_s` after the last wait, and with `close`.
"""

import asyncio

from micropython import const

from agent.errors import LinkError
from agent.link import tls

_LINE = const(512)
_LINES = const(256)  # read at once while lines are wanted
_HEAD = const(4096)
_PIECE = const(2048)  # of a body whose length nobody knows
_REDIRECTS = const(3)
_CLOSE_S = const(5)
_RATE_MS = const(20000)  # waiting time over which the rate is taken
_WANTED = (
    b"content-length",
    b"content-range",
    b"content-encoding",
    b"transfer-encoding",
    b"etag",
    b"last-modified",
    b"location",
    b"connection",
)


def split(url):
    """(host, port, secure, path) of an absolute URL, or LinkError."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    host, _, port = host.partition(":")
    secure = scheme == "https"
    ok = (secure or scheme == "http") and host and "@" not in host and "#" not in path
    if not ok or not (port or "1").isdigit() or any(not "!" <= c <= "~" for c in url):
        raise LinkError("http-url")
    return host, int(port or (443 if secure else 80)), secure, "/" + path


def dialer(context):
    """The usual `dial`: `context()` makes the TLS context, verified, when it is first needed."""

    async def dial(host, port, secure):
        if secure:
            return await asyncio.open_connection(host, port, ssl=context(), server_hostname=host)
        return await asyncio.open_connection(host, port)

    return dial


class Http:
    """One job's connection: an answer at a time, kept alive for the next where the server does."""

    def __init__(self, board, dial, hosts=(), deadline_s=3600, least=500, idle_s=20):
        """`await dial(host, port, secure)` gives (reader, writer); `board` gives the ticks.

        `hosts`: where else a redirect may lead, each as it stands in the URL. `make_room(length)`
        may be set, and is called before `read` takes that much of the heap in one piece; so may
        `alive()`, which is called before each wait.
        """
        self.make_room = self.alive = None
        self._board = board
        self._dial = dial
        self._hosts = hosts
        self._deadline_ms = deadline_s * 1000
        self._least = least
        self._idle_ms = idle_s * 1000
        self._start = board.ticks_ms()
        self._where = self._writer = None
        self._left, self._rest = 0, b""
        self._waiting = self._watching = self._late = None

    async def get(self, url, extra=b""):
        """Sends a GET with more header lines `extra`; returns the status, with the body to read.

        Afterwards `headers` has the few that matter, by lower-case name, all bytes.
        """
        for _ in range(_REDIRECTS + 1):
            where = split(url)
            status = await self._ask(where, url, extra)
            if status not in (301, 302, 303, 307, 308):
                return status
            await self.close()
            url = self._follow(url, self.headers.get(b"location", b""))
        raise LinkError("http-redirect", "too many")

    async def read(self, url, limit):
        """The whole of a file of at most `limit` bytes, as a bytearray."""
        try:
            status = await self.get(url)
            if status != 200:
                raise LinkError("http-status", str(status))
            if not self._chunked and not self._open_end:
                return await self._exactly(self._left, limit)
            out = bytearray()
            piece = memoryview(bytearray(min(limit + 1, _PIECE)))
            while True:
                count = await self.readinto(piece)
                if not count:
                    return out
                if len(out) + count > limit:
                    raise LinkError("http-long")
                out += piece[:count]
        except LinkError:
            await self.close()
            raise

    async def _exactly(self, length, limit):
        """A body of a known length. What grows is moved, and needs its place twice."""
        if length > limit:
            raise LinkError("http-long")
        if self.make_room:
            self.make_room(length)
        out = bytearray(length)
        view = memoryview(out)
        while view:
            view = view[await self.readinto(view) :]
        return out

    async def readinto(self, buffer):
        """Puts some of the body into the buffer and says how much; 0 when it is complete."""
        try:
            if self._chunked and not self._left and not self._ended:
                await self._chunk()
            if self._ended or not self._left:
                self._ended = True
                return 0
            if self._rest:
                count = min(len(buffer), self._left, len(self._rest))
                buffer[:count] = self._rest[:count]
                self._rest = self._rest[count:]
            else:
                if len(buffer) > self._left:
                    buffer = memoryview(buffer)[: self._left]
                count = await self._read(buffer)
            if not count:
                if not self._open_end:
                    raise LinkError("http-closed")
                self._ended = True
            self._left -= count
        except LinkError:
            await self.close()
            raise
        return count

    async def close(self):
        writer, self._writer = self._writer, None
        self._where = None
        if self._watching:
            self._watching.cancel()
            self._watching = None
        if writer:
            try:
                writer.close()
                await asyncio.wait_for(writer.wait_closed(), _CLOSE_S)
            except (OSError, asyncio.TimeoutError):
                pass  # the socket is gone either way

    def _follow(self, url, location):
        try:
            location = location.decode()
        except ValueError:
            raise LinkError("http-url")
        if location.startswith("/") and not location.startswith("//"):
            return "/".join(url.split("/", 3)[:3]) + location
        here, there = split(url), split(location)
        known = here[:2] == there[:2] or location.split("/", 3)[2] in self._hosts
        if here[2] != there[2] or not known:
            raise LinkError("http-redirect", there[0])
        return location

    async def _ask(self, where, url, extra):
        """Sends the request, on the connection at hand if that still lives; reads the head."""
        request = "GET {} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: identity\r\n".format(
            where[3], url.split("/", 3)[2]
        )
        request = request.encode() + extra + b"\r\n"
        fresh = self._writer is None or self._where != where[:3] or not self._reusable()
        while True:
            try:
                if fresh:
                    await self.close()
                    await self._connect(where[:3])
                self._size = self._waited = self._got = 0
                await self._timed(self._send, request)
                return await self._head()
            except LinkError as e:
                await self.close()
                if fresh or e.code != "http-closed":
                    raise
                fresh = True

    def _reusable(self):
        return self._keep and (self._ended or not (self._left or self._chunked))

    async def _connect(self, where):
        self._rest = b""
        self._first = where[2]  # until the first answer, a failure is one of TLS
        try:
            self._reader, self._writer = await self._timed(self._dial, *where)
        except OSError as e:
            failure = tls.failure(e)
            if not where[2] or failure.code != "tls-memory":
                failure = LinkError("tcp-failed", str(e.args[0] if e.args else ""))
            raise failure
        self._where = where

    async def _send(self, data):
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, ValueError, EOFError) as e:
            raise self._failure(e)

    async def _head(self):
        parts = (await self._line()).split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not _digits(parts[1]):
            raise LinkError("http-header", "status")
        self.headers = {}
        while True:
            line = await self._line()
            if not line:
                break
            name, _, value = line.partition(b":")
            name = name.lower()
            if name in _WANTED:
                if name in self.headers:
                    raise LinkError("http-header", "twice")
                self.headers[name] = value.strip()
        self._body(parts[0] == b"HTTP/1.1")
        return int(parts[1])

    def _body(self, keep):
        """How long the body is (RFC 9112, 6.3)."""
        known = self.headers.get
        length = known(b"content-length")
        coding = known(b"transfer-encoding", b"").lower()
        self._keep = keep and b"close" not in known(b"connection", b"").lower()
        self._chunked = coding == b"chunked"
        self._open_end = self._ended = self._crlf = False
        self._left = 0
        whole = known(b"content-encoding", b"identity") == b"identity"
        if not whole or (coding and (length or not self._chunked)):
            raise LinkError("http-header", "coding")
        if length is not None:
            if not _digits(length):
                raise LinkError("http-header", "length")
            self._left = int(length)
        elif not self._chunked:
            self._open_end = True
            self._keep = False
            self._left = 1 << 29

    async def _chunk(self):
        self._size = 0
        if self._crlf and await self._line():
            raise LinkError("http-chunk")
        size = (await self._line()).split(b";")[0].strip().lower()
        if not 0 < len(size) < 8 or size.strip(b"0123456789abcdef"):
            raise LinkError("http-chunk")
        self._left = int(size, 16)
        self._crlf = True
        if not self._left:
            self._ended = True
            while await self._line():
                pass

    async def _line(self):
        """The next line without its end; a "-" in place of one that is too long."""
        long = False
        while True:
            end = self._rest.find(b"\n")
            if end >= 0:
                break
            if len(self._rest) > _LINE:
                long = True
                self._rest = b""
            piece = bytearray(_LINES)
            count = await self._read(piece)
            if not count:
                raise LinkError("http-closed")
            self._size += count
            if self._size > _HEAD:
                raise LinkError("http-header", "long")
            self._rest += piece[:count]
        line = self._rest[:end].rstrip(b"\r")
        self._rest = self._rest[end + 1 :]
        return b"-" if long or len(line) > _LINE else line

    async def _read(self, view):
        """How many bytes came into the view, within the bounds of time and rate."""
        self._begin()
        try:
            count = await self._reader.readinto(view)
            while count is None:  # a part of a record of TLS
                count = await self._reader.readinto(view)
        except asyncio.CancelledError:
            self._was_late()
            raise
        except (OSError, ValueError, EOFError) as e:
            raise self._failure(e)
        finally:
            self._waiting = None
        if self._first and not count:
            raise LinkError("tls-closed")
        self._first = False
        self._got += count
        self._waited += self._board.ticks_diff(self._board.ticks_ms(), self._since)
        if self._waited > _RATE_MS:
            if self._got * 1000 < self._least * self._waited:
                raise LinkError("http-slow")
            self._waited = self._got = 0
        return count

    async def _timed(self, call, *args):
        """Awaits another call within the bounds of time."""
        self._begin()
        try:
            return await call(*args)
        except asyncio.CancelledError:
            self._was_late()
            raise
        finally:
            self._waiting = None

    def _failure(self, e):
        return tls.failure(e) if self._first else LinkError("http-closed")

    def _begin(self):
        """From here on somebody waits."""
        if self.alive:
            self.alive()
        self._since = self._board.ticks_ms()
        if self._rest_ms(self._since) <= 0:
            raise LinkError("http-deadline")
        self._waiting = asyncio.current_task()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def _was_late(self):
        late, self._late = self._late, None
        if late:
            raise LinkError(late)

    async def _watch(self):
        """Ends a wait that lasts too long, and itself where it finds nobody waiting."""
        while self._waiting:
            now = self._board.ticks_ms()
            idle = self._idle_ms - self._board.ticks_diff(now, self._since)
            rest = self._rest_ms(now)
            if min(idle, rest) <= 0:
                self._late = "http-slow" if idle < rest else "http-deadline"
                self._waiting.cancel()
                break
            await asyncio.sleep(min(idle, rest) / 1000)
        self._watching = None

    def _rest_ms(self, now):
        """What is left of the job's time."""
        return self._deadline_ms - self._board.ticks_diff(now, self._start)


def _digits(text):
    return 0 < len(text) < 10 and not text.strip(b"0123456789")
