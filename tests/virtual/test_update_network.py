# SPDX-License-Identifier: MIT
"""A server that sends boards elsewhere, never ends, or lies about lengths (FAULTS N-5, N-6, N-11,
N-16), on the whole board: it stays up, takes nothing, and goes on once the server is good."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import pytest
from test_update import BOOT_S
from test_update_attacks import WAIT_S, slots
from update_world import HOST, World, firmware, run_until

from agent.update import order
from fleetling.simboard.inprocess import Board, ServerTls
from fleetling.simboard.inprocess.web import FileServer

ATTEMPTS = 8
CAP = 32768  # the longest metadata file that a board takes
SLACK = 32768  # in sockets, when the board hangs up


@pytest.fixture
def world() -> World:
    return World()


def fails(world: World, board: Board, code: str) -> None:
    """The assignment ends in `failed` with that code, in one life, and nothing was written."""
    assert run_until(board, 12_000, lambda: world.reported("failed")), world.states()
    assert world.reports()[-1]["code"] == code, world.reports()[-1]
    assert board.lives == 1


def goes_on(world: World, board: Board, path: str) -> None:
    world.server.instead = lambda path: None
    world.assign(path)
    assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), world.reports()[-1]


# --- N-11


def redirect(world: World, where: str, *, only: str = "") -> None:
    def instead(path: str) -> list[bytes] | None:
        if only not in path:
            return None
        head = f"HTTP/1.1 302 Found\r\nLocation: {where}{path}\r\nContent-Length: 0\r\n\r\n"
        return [head.encode()]

    world.server.instead = instead


@pytest.mark.parametrize("only", ["timestamp.json", ".app"])
def test_a_redirect_to_another_host_is_not_followed(world: World, only: str) -> None:
    path = world.add_app("1.1.0")
    world.publish()
    elsewhere = world.net.host("evil.lan", 80, FileServer(world.repository.files).handle)
    with world.board_of() as board:
        board.boot(BOOT_S)
        before = slots(board)
        redirect(world, "http://evil.lan/", only=only)
        world.assign(path)
        fails(world, board, "http-redirect")
        assert elsewhere.connections == 0 and slots(board) == before
        goes_on(world, board, path)


def test_a_redirect_from_https_to_http_is_not_followed(world: World) -> None:
    server = world.authority.server([HOST], 1000)
    tls = ServerTls([server.certificate_der], server.key_der)
    world.net.host(HOST, 443, world.server.handle, tls=tls)
    plain = world.net.host(HOST, 80, FileServer(world.repository.files).handle)
    provision = world.provision(repository=f"https://{HOST}/")
    world.provision = lambda *a, **k: provision  # type: ignore[method-assign]
    path = world.add_app("1.1.0")
    world.publish()
    redirect(world, f"http://{HOST}/")
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(path)
        fails(world, board, "http-redirect")
        assert plain.connections == 0
        goes_on(world, board, path)


def test_a_redirect_in_the_same_place_is_followed_and_a_circle_is_left(world: World) -> None:
    path = world.add_app("1.1.0")
    world.publish()
    for name, data in list(world.repository.files.items()):
        world.repository.files["moved/" + name] = data
    with world.board_of() as board:
        board.boot(BOOT_S)
        redirect(world, "/")  # to itself
        world.assign(path)
        fails(world, board, "http-redirect")
        followed = len(world.server.requests)
        assert followed == ATTEMPTS * 4
        redirect(world, f"http://{HOST}/moved/")
        inner = world.server.instead
        world.server.instead = lambda path: None if path.startswith("moved/") else inner(path)
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))


# --- N-5


def endless_chunks() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from repeat(b"400\r\n" + b" " * 1024 + b"\r\n")


def endless_body() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    yield from repeat(b" " * 1024)


def boasting() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"
    yield from repeat(b" " * 1024)


def endless_head() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from repeat(b"X-More: " + b"x" * 500 + b"\r\n")


def endless_line() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX-More: "
    yield from repeat(b"x" * 1024)


def short() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}"


def negative() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"


def two_lengths() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "


METADATA = {
    endless_chunks: "http-long",
    endless_body: "http-long",
    boasting: "http-long",
    endless_head: "http-header",
    endless_line: "http-header",
    short: "http-closed",
    negative: "http-header",
    two_lengths: "http-header",
}
PAYLOAD = {
    endless_chunks: "payload-format",
    boasting: "http-length",
    endless_head: "http-header",
    short: "http-length",
    two_lengths: "http-header",
}


@pytest.mark.parametrize("answer", METADATA, ids=lambda answer: answer.__name__)
@pytest.mark.parametrize("where", ["timestamp.json", "targets.json"])
def test_metadata_without_end_or_with_a_lying_length(world: World, where: str, answer) -> None:  # type: ignore[no-untyped-def]
    path = world.add_app("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        before = slots(board)
        world.server.instead = lambda path: answer() if where in path else None
        world.assign(path)
        fails(world, board, METADATA[answer])
        assert slots(board) == before
        assert world.server.sent < ATTEMPTS * (CAP + SLACK) + 8 * CAP
        goes_on(world, board, path)


@pytest.mark.parametrize("answer", PAYLOAD, ids=lambda answer: answer.__name__)
def test_a_payload_without_end_or_with_a_lying_length(world: World, answer) -> None:  # type: ignore[no-untyped-def]
    path = world.add_firmware("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        before = slots(board)
        world.server.instead = lambda path: answer() if path.endswith(".fw") else None
        world.assign(path)
        over = ("failed", "refused")
        assert run_until(board, 12_000, lambda: any(map(world.reported, over))), world.states()
        assert world.reports()[-1]["code"] == PAYLOAD[answer], world.reports()[-1]
        assert board.lives == 1 and slots(board) == before
        assert world.server.sent < ATTEMPTS * 2 * SLACK + 8 * CAP
        goes_on(world, board, path)


# --- N-6


def test_a_server_that_trickles_is_left_and_the_watchdog_is_fed(world: World) -> None:
    path = world.add_firmware("1.1.0", firmware("1.1.0", 200_000))
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.site.bytes_per_s = 60
        world.assign(path)
        board.run(900)
        assert "http-slow" in board.console
        assert board.lives == 1 and world.reports()[-1]["state"] in ("assigned", "fetching")
        world.site.bytes_per_s = 80_000
        assert run_until(board, 4000, lambda: world.reported("confirmed"))


def slow_metadata(world: World) -> str:
    """A role of nearly 32 KB."""
    for number in range(56):
        world.add(f"pump/{number}.txt", b"x", {"note": "x" * 400})
    world.site.bytes_per_s = 510
    return world.add_app("1.1.0")


def slow_redirects(world: World) -> str:
    def instead(path: str) -> Iterator[bytes] | None:
        return None if path.startswith("moved/") else moved(path)

    def moved(path: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 302 Found\r\nX: "
        yield b"x" * 340 + f"\r\nLocation: /{path}\r\n\r\n".encode()

    world.server.instead = instead
    world.site.bytes_per_s = 25
    return world.add_app("1.1.0")


def slow_without_ranges(world: World) -> str:
    world.server.ranges = False
    world.site.bytes_per_s = 2000
    world.site.drop_after = 180_000
    return world.add_firmware("1.1.0", firmware("1.1.0", 200_000))


@pytest.mark.parametrize("server", [slow_metadata, slow_redirects, slow_without_ranges])
@pytest.mark.parametrize("alone", [False, True])
def test_a_slow_server_does_not_have_the_board_reset(world: World, server, alone: bool) -> None:  # type: ignore[no-untyped-def]
    """What takes longer than a task may be silent for, though each wait is short."""
    path = server(world)
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        if alone:
            board.chip.heap_held = 120_000
        world.assign(path)
        run_until(board, 1000, lambda: world.reported("confirmed"))
        world.site.drop_after = None
        done = run_until(board, 1500, lambda: world.reported("confirmed"))
        assert done is (server is not slow_redirects)
        assert "starved" not in board.console


# --- N-16


def test_a_fleet_is_spread_evenly_over_the_jitter() -> None:
    """1,000 boards over an hour: each tenth gets its share, and another order other places."""
    assigned = order.parse(b'{"id":"order-1","targets":["pump/1.app"],"jitter_s":3600}')
    names = [f"pump-{number}" for number in range(1000)]
    delays = {name: order.delay_s(assigned, name) for name in names}
    assert all(0 <= delay <= 3600 for delay in delays.values())
    tenths = [0] * 10
    for delay in delays.values():
        tenths[min(delay // 360, 9)] += 1
    assert min(tenths) > 60 and max(tenths) < 140
    assert len(set(delays.values())) > 800
    again = {name: order.delay_s({**assigned, "id": "order-2"}, name) for name in names}
    assert sum(delays[name] == again[name] for name in names) < 10
    assert {name: order.delay_s(assigned, name) for name in names} == delays  # after a reset, too
    assert order.delay_s({**assigned, "jitter_s": None}, "pump-1") == 0


def test_boards_that_failed_together_do_not_come_back_together() -> None:
    asked = []
    for seed in range(8):
        world = World()
        path = world.add_app("1.1.0")
        world.publish()
        world.server.status = 503
        with world.board_of(seed=seed) as board:
            board.boot(BOOT_S)
            world.server.requests.clear()
            world.assign(path)
            requests = world.server.requests
            board.resume(lambda requests=requests: len(requests) > 0)  # type: ignore[misc]
            first = board.now
            board.resume(lambda requests=requests: len(requests) > 1)  # type: ignore[misc]
            asked.append(board.now - first)
    assert min(asked) > 10 and max(asked) < 22
    assert len({round(pause, 1) for pause in asked}) > 5 and max(asked) - min(asked) > 3


def test_an_assignment_that_comes_in_a_flood_of_commands_is_not_lost(world: World) -> None:
    path = world.add_app("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        for _ in range(40):
            world.command("dev", "ping", 1 << 32)
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), board.console
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"
        connects = [line for line in board.console.split("\n") if "on the broker" in line]
        assert len(connects) == 2, board.console  # one in each life: it is not left for that


def test_a_flood_without_end_keeps_no_board_from_what_is_retained(world: World) -> None:
    with world.board_of() as board:
        board.boot(BOOT_S)
        for second in range(60):
            for _ in range(20):
                world.command("dev", "ping", 1 << 32)
            if second == 30:
                world.assign(world.add_app("1.1.0"))
                world.publish()
            board.run(1)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), board.console
