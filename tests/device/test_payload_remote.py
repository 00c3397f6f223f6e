# SPDX-License-Identifier: MIT
import payload_maker as make
from http_server import Server, answer, refused
from support import tried

from agent.errors import LinkError
from agent.link.http import Http
from agent.update.payload.reader import Reader
from agent.update.payload.remote import Remote

URL = "https://files.example/payload"
FILE = bytes(range(256)) * 8
TAG = b'ETag: "one"'


def partial(start, *headers, file=FILE, span=None):
    if span is None:
        span = "bytes {}-{}/{}".format(start, len(file) - 1, len(file)).encode()
    return answer(file[start:], b"Content-Range: " + span, *headers, status=b"206 Partial Content")


def remote(*scripts, validator=None):
    server = Server(*scripts)
    return server, Remote(Http(server.ticks, server.dial), URL, len(FILE), validator)


async def fetch(source, offset, count):
    buffer = bytearray(count)
    done = 0
    while done < count:
        found = await source.fetch(offset + done, memoryview(buffer)[done:])
        if not found:
            break
        done += found
    return bytes(buffer[:done])


async def test_reading_on_needs_one_request():
    server, source = remote([answer(FILE, TAG)])
    assert await fetch(source, 0, 88) == FILE[:88]
    assert await fetch(source, 88, 1500) == FILE[88:1588]
    assert await fetch(source, 1588, 9999) == FILE[1588:]
    assert server.requests().count(b"GET") == 1 and b"Range" not in server.requests()
    assert await source.fetch(len(FILE), bytearray(8)) == 0
    assert source.validator == b'"one"'


async def test_another_place_is_asked_for_by_range():
    server, source = remote([answer(FILE, TAG)], [partial(1000, TAG)])
    await fetch(source, 0, 88)
    assert await fetch(source, 1000, 200) == FILE[1000:1200]
    sent = server.connections[1].sent
    assert b'\r\nRange: bytes=1000-\r\nIf-Range: "one"\r\n' in sent


async def test_it_goes_on_after_a_drop():
    _server, source = remote([answer(FILE[:700], length=len(FILE))], [partial(700)])
    assert await fetch(source, 0, 700) == FILE[:700]
    assert await refused(source.fetch(700, bytearray(10))) == "http-closed"
    assert await fetch(source, 700, 2000) == FILE[700:]


async def test_a_server_that_ignores_ranges_is_skipped_through():
    _server, source = remote([answer(FILE, TAG)], validator=b'"one"')
    assert await fetch(source, 1500, 100) == FILE[1500:1600]
    _server, source = remote([answer(FILE)])
    assert await fetch(source, 1500, 100) == FILE[1500:1600]


async def test_a_changed_file_is_never_spliced():
    dated = b"Last-Modified: Sat, 01 Feb 2025 00:00:00 GMT"
    for reply in (
        answer(FILE, b'ETag: "two"'),
        partial(1000, b'ETag: "two"'),
        partial(1000, dated),
        answer(FILE, dated),
        answer(FILE),
        answer(FILE + b"x", TAG),
        answer(FILE[:-1], TAG),
        partial(1000, TAG, file=FILE + b"x"),
        answer(b"", status=b"416 Range Not Satisfiable"),
    ):
        server, source = remote([reply], validator=b'"one"')
        assert await refused(source.fetch(1000, bytearray(8))) == "http-changed", reply[:200]
        assert server.connections[0].closed


async def test_a_date_stands_in_for_a_weak_tag():
    dated = b"Last-Modified: Sat, 01 Feb 2025 00:00:00 GMT"
    server, source = remote([answer(FILE, b'ETag: W/"one"', dated)], [partial(20, dated)])
    await fetch(source, 0, 9)
    assert source.validator == dated[15:]
    assert await fetch(source, 20, 9) == FILE[20:29]
    assert b"If-Range: Sat, 01 Feb 2025" in server.requests()


async def test_a_range_that_was_not_asked_for_is_refused():
    for span in (
        b"bytes 0-2047/2048",
        b"bytes 999-2047/2048",
        b"bytes 1001-2047/2048",
        b"bytes 1000-2046/2048",
        b"bytes 1000-2048/2048",
        b"bytes 1000-2047/*",
        b"bytes 1000-/2048",
        b"bytes 1000-2047",
        b"bytes -1000-2047/2048",
        b"bytes 0x3e8-2047/2048",
        b"lines 1000-2047/2048",
        b"",
    ):
        _server, source = remote([partial(1000, span=span)])
        assert await refused(source.fetch(1000, bytearray(8))) == "http-range", span
    _server, source = remote([partial(0)])
    assert await refused(source.fetch(0, bytearray(8))) == "http-status"


async def test_a_file_of_another_length_is_refused_at_once():
    _server, source = remote([answer(FILE + b"x")])
    assert await refused(source.fetch(0, bytearray(8))) == "http-length"


async def test_more_than_the_length_is_never_asked_for():
    _server, source = remote([answer(FILE + b"more", length=-1)])
    assert await fetch(source, 2040, 100) == FILE[2040:]


def dropping(payload, first):
    """A server whose first connection breaks after `first` bytes of the body; counts the bytes."""
    server = Server()
    server.sent = 0

    async def dial(host, port, secure):
        server.scripts = [[]]
        _, connection = await Server.dial(server, host, port, secure)

        def write(request):
            request = request.decode()
            start = int(request.split("bytes=")[1].split("-")[0]) if "bytes=" in request else 0
            whole = partial(start, TAG, file=payload) if start else answer(payload, TAG)
            head = len(whole) - len(payload) + start
            body = whole[head:]
            if len(server.connections) == 1:
                body = body[:first]
            server.sent += len(body)
            connection.steps = [whole[:head] + body]

        connection.write = write
        return connection, connection

    return Remote(Http(server.ticks, dial), URL, len(payload)), server


async def test_a_drop_at_every_byte_costs_one_frame_at_most():
    image = b"abcdefgh" * 2500
    payload = make.whole(image)
    longest = 8 + max(len(make.squeeze(image[at : at + 8192])) for at in (0, 8192, 16384))
    assert len(payload) < 450
    for first in range(len(payload) + 1):
        world = make.World(payload, image)
        source, server = dropping(payload, first)
        reader = Reader(world.write)
        drops = 0
        while True:
            try:
                await reader.open(source.fetch, len(payload), len(image), make.sha256(image))
                break
            except LinkError:
                drops += 1
        while not reader.done():
            try:
                await reader.step(source.fetch)
            except LinkError:
                drops += 1
        assert world.same() and drops == (first < len(payload)), first
        assert server.sent <= len(payload) + longest, first
    tried(len(payload) + 1)
