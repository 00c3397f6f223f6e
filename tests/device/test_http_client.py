# SPDX-License-Identifier: MIT
from http_server import Server, answer, refused
from support import raises

from agent.errors import LinkError
from agent.link.http import Http, split

URL = "https://files.example/repo/a.json"


def client(server, **other):
    return Http(server.ticks, server.dial, **other)


def served(*steps):
    server = Server(steps)
    return client(server).read(URL, 5000)


def test_urls_are_taken_apart():
    assert split("https://a.example/x/y?z=1") == ("a.example", 443, True, "/x/y?z=1")
    assert split("http://10.0.0.1:8080") == ("10.0.0.1", 8080, False, "/")
    for bad in (
        "ftp://a/b",
        "https:///b",
        "a.example/b",
        "https://a b/",
        "https://a/\r\nX: y",
        "https://user@a/",
        "https://a:b/",
        "https://a/\xe9",
        "https://a/#b",
        "",
    ):
        assert raises(LinkError, split, bad).code == "http-url", bad


async def test_a_file_is_read_with_the_request_that_the_standard_asks_for():
    server = Server([answer(b"hello")])
    assert await client(server).read(URL, 5) == b"hello"
    assert server.dialled == [("files.example", 443, True)]
    assert server.connections[0].sent == (
        b"GET /repo/a.json HTTP/1.1\r\nHost: files.example\r\nAccept-Encoding: identity\r\n\r\n"
    )


async def test_bodies_come_by_length_in_chunks_or_to_the_end():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    assert await served(chunked + chunks) == b"hello world"
    for at in range(len(chunks)):
        assert await served(chunked + chunks[:at], chunks[at:]) == b"hello world"
    assert await served(answer(b"to the end", length=-1)) == b"to the end"
    assert await served(answer(b"")) == b""
    big = bytes(range(256)) * 16
    assert await served(answer(big)) == big
    one_by_one = [bytes([b]) for b in answer(b"slowly")]
    assert await served(*one_by_one) == b"slowly"


async def test_nothing_is_endless():
    assert await refused(served(answer(b"x" * 5001))) == "http-long"
    assert await refused(served(answer(b"x" * 100000, length=-1))) == "http-long"
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await refused(served(head, *[chunk] * 6)) == "http-long"
    assert await refused(served(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 2000)) == "http-header"
    assert await refused(served(b"HTTP/1.1 200 OK\r\n" + b"X" * 100000)) == "http-header"
    assert await refused(served(head, b"0\r\n", *[b"X: y\r\n"] * 2000)) == "http-header"
    assert await refused(served(head, b"1;" + b"x" * 9000)) == "http-header"


async def test_a_long_line_that_nobody_needs_is_skipped():
    policy = b"Content-Security-Policy: " + b"x" * 3000
    assert await served(answer(b"hello", policy)) == b"hello"
    assert await served(answer(b"hello", b"X: " + b"y" * 509)) == b"hello"
    assert await refused(served(b"HTTP/1.1 200 " + b"x" * 600 + b"\r\n\r\n")) == "http-header"


async def test_lengths_that_lie():
    assert await refused(served(answer(b"hell", length=5))) == "http-closed"
    assert await served(answer(b"hello", length=4)) == b"hell"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    for code, head, body in (
        ("http-chunk", chunked + b"\r\n", b"g\r\n"),
        ("http-chunk", chunked + b"\r\n", b"-1\r\n"),
        ("http-chunk", chunked + b"\r\n", b"\r\n"),
        ("http-chunk", chunked + b"\r\n", b"0x5\r\nhello\r\n"),
        ("http-chunk", chunked + b"\r\n", b"ffffffff\r\n"),
        ("http-chunk", chunked + b"\r\n", b"4\r\nhello\r\n0\r\n\r\n"),
        ("http-closed", chunked + b"\r\n", b"5\r\nhel"),
        ("http-closed", chunked + b"\r\n", b"5\r\nhello\r\n"),
        ("http-header", chunked + b"Content-Length: 5\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        ("http-header", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b""),
        ("http-header", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", b"hello"),
        ("http-header", b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", b""),
        ("http-header", answer(b"hello", b"Content-Length: 6"), b""),
        ("http-header", answer(b"hello", b"Transfer-Encoding: gzip"), b""),
        ("http-header", answer(b"hello", b"Content-Encoding: gzip"), b""),
        ("http-header", b"SSH-2.0-OpenSSH\r\n", b""),
        ("http-header", b"HTTP/1.1 2e2 OK\r\n\r\n", b""),
        ("http-header", b"\r\n", b""),
    ):
        assert await refused(served(head + body)) == code, head + body


async def test_a_status_is_told():
    for status in (b"404 Not Found", b"500", b"206 Partial Content", b"304 Not Modified"):
        server = Server([answer(b"no", status=status)])
        try:
            await client(server).read(URL, 5000)
            raise AssertionError
        except LinkError as e:
            assert (e.code, e.detail) == ("http-status", status[:3].decode())
        assert server.connections[0].closed


async def test_one_connection_serves_several_files():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n"
    server = Server([answer(b"one"), answer(b""), chunked, answer(b"four", b"Connection: close")])
    server.scripts.append([answer(b"five")])
    http = client(server)
    for wanted in (b"one", b"", b"three", b"four", b"five"):
        assert await http.read(URL, 10) == wanted
    assert len(server.dialled) == 2 and server.connections[0].closed


async def test_a_connection_that_died_in_between_is_made_anew():
    server = Server([answer(b"one")], [answer(b"two")], [])
    http = client(server)
    assert await http.read(URL, 10) == b"one"
    assert await http.read(URL, 10) == b"two"
    # A connection that dies before it said anything is not tried again.
    assert await refused(http.read(URL, 10)) == "tls-closed"
    assert len(server.dialled) == 3
    plain = Server([])
    assert await refused(client(plain).read("http://files.example/a", 10)) == "http-closed"


async def test_an_unread_body_is_not_taken_for_the_next_answer():
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    server = Server([answer(body)], [answer(b"good")])
    http = client(server)
    assert await http.get(URL) == 200
    assert await http.read(URL, 10) == b"good"


async def test_another_host_gets_a_connection_of_its_own():
    server = Server([answer(b"one")], [answer(b"two")])
    http = client(server)
    await http.read(URL, 10)
    assert await http.read("https://other.example/", 10) == b"two"
    assert server.dialled[1][0] == "other.example"


def moved(to, status=b"302 Found"):
    return answer(b"", b"Location: " + to, status=status)


async def test_redirects_stay_with_the_same_trust():
    for status in (b"301", b"302", b"303", b"307", b"308"):
        server = Server([moved(b"/b", status)], [answer(b"there")])
        assert await client(server).read(URL, 10) == b"there"
        assert b"GET /b HTTP/1.1\r\nHost: files.example\r\n" in server.requests()
    for bad in (
        b"http://files.example/b",
        b"https://evil.example/b",
        b"https://files.example:444/b",
        b"//evil.example/b",
        b"https://files.example@evil.example/b",
        b"ftp://files.example/b",
        b"https://files.example/\xff",
        b"\xc3(",
        b"b",
        b"",
    ):
        server = Server([moved(bad)], [answer(b"there")])
        code = await refused(client(server).read(URL, 10))
        assert code in ("http-redirect", "http-url"), bad
        assert len(server.dialled) == 1
    for good in (b"https://files.example/b", b"https://cdn.example:444/b"):
        server = Server([moved(good)], [answer(b"there")])
        assert await client(server, hosts=("cdn.example:444",)).read(URL, 10) == b"there"


async def test_three_redirects_and_no_more():
    server = Server(*[[moved(b"/b")]] * 3 + [[answer(b"there")]])
    assert await client(server).read(URL, 10) == b"there"
    server = Server(*[[moved(b"/b")]] * 9)
    assert await refused(client(server).read(URL, 10)) == "http-redirect"
    assert len(server.dialled) == 4


async def test_the_slow_are_left():
    # A byte every two seconds: each comes in time, all together are too few.
    drip = []
    for _ in range(100):
        drip += [2000, b"x"]
    for start in ([answer(b"", length=5000)], [b"HTTP/1.1 200 OK\r\nX: "]):
        server = Server(start + drip)
        begun = server.ticks.now
        assert await refused(client(server).read(URL, 5000)) == "http-slow"
        assert server.ticks.now - begun < 25000 and server.connections[0].closed
    # 600 bytes a second are enough.
    server = Server([answer(b"", length=30000)] + [1000, b"x" * 600] * 50)
    assert len(await client(server).read(URL, 30000)) == 30000


async def test_time_between_reads_is_not_the_servers():
    server = Server([answer(bytes(4096))])
    http = client(server)
    await http.get(URL)
    buffer = bytearray(100)
    total = 0
    while total < 4096:
        server.ticks.now += 5000  # the flash is being written
        total += await http.readinto(buffer)
    assert total == 4096


async def test_the_silent_are_left():
    server = Server([None])
    assert await refused(client(server, idle_s=0.05).read(URL, 10)) == "http-slow"
    server = Server([answer(b"", length=5), None])
    assert await refused(client(server, idle_s=0.05).read(URL, 10)) == "http-slow"
    assert server.connections[0].closed


async def test_the_whole_job_has_a_deadline():
    server = Server([answer(b"", length=10000)] + [1000, b"x" * 600] * 50)
    assert await refused(client(server, deadline_s=5).read(URL, 10000)) == "http-deadline"
    server = Server([None])
    assert await refused(client(server, deadline_s=0.05).read(URL, 10)) == "http-deadline"


async def test_what_tls_says_comes_through():
    expired = ValueError("The certificate validity has expired")
    server = Server([expired])
    assert await refused(client(server).read(URL, 10)) == "tls-expired"
    server = Server([OSError(104)])
    assert await refused(client(server).read(URL, 10)) == "tls-closed"
    server = Server([answer(b"", length=5), OSError(104)])
    assert await refused(client(server).read(URL, 10)) == "http-closed"


async def test_a_host_out_of_reach():
    async def dial(host, port, secure):
        raise OSError(113)

    http = Http(Server().ticks, dial)
    assert await refused(http.read(URL, 10)) == "tcp-failed"


async def test_no_memory_for_the_buffers_of_tls():
    """They are allocated while it connects, before the handshake."""

    async def dial(host, port, secure):
        raise OSError(12)

    for url, code in ((URL, "tls-memory"), ("http" + URL[5:], "tcp-failed")):
        assert await refused(Http(Server().ticks, dial).read(url, 10)) == code
