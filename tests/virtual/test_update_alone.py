# SPDX-License-Identifier: MIT
"""The life of its own that an update gets where memory does not do beside the rest."""

from __future__ import annotations

from typing import Any

import pytest
from update_world import HOST, World, app, firmware, run_until

from fleetling.simboard.inprocess import Board, ServerTls

BOOT_S = 20
SHORT = 120_000
LITTLE = 15_000  # leaves enough for an update by http, and too little for one by https
ALONE = "alone, for the memory"
BLOCK, BLOCKS, SPARE = 4096, 240, 15  # of a stock board's file system
POINTS = 5  # of about 400 operations; all of them were tried
TORN = (None, -1, b"\x33\x0f\x80")


@pytest.fixture
def world() -> World:
    return World()


def short_of_memory(world: World, board: Board, *targets: str, **more: Any) -> None:
    """Boots, has memory taken until the next start, and assigns."""
    board.boot(BOOT_S)
    board.chip.heap_held = SHORT
    world.publish()
    world.assign(*targets, **more)


def test_an_application_is_fetched_without_the_one_that_runs(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        assert run_until(board, 400, lambda: world.reported("confirmed"))
        assert "reset: update-alone order-1" in board.console
        assert "reset: update-over order-1" in board.console
        assert board.lives == 5 and board.console.count(ALONE) == 2  # metadata, and payload
        assert board.console.count("app says one") == 2  # not in the lives between
        fetching = [r for r in world.reports() if r["state"] == "fetching"]
        assert fetching[-1]["why"] == "alone"
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"
        boots = [event["why"] for event in world.events("boot")]
        assert boots == ["", "update-over", "update"]


def test_a_firmware_by_delta(world: World) -> None:
    base = firmware("1.0.0")
    path = world.add_firmware("1.1.0", base=base)
    with world.board_of(image=base) as board:
        short_of_memory(world, board, path)
        assert run_until(board, 400, lambda: world.reported("confirmed"))
        assert board.console.count(ALONE) == 2
        assert any(".delta" in request for request in world.server.requests)
        assert not any(".fw" in request for request in world.server.requests)


@pytest.mark.parametrize(("scheme", "lives"), [("http", 0), ("https", 2)])
def test_room_for_tls_counts_where_the_repository_has_it(
    world: World, scheme: str, lives: int
) -> None:
    server = world.authority.server([HOST], 1000)
    tls = ServerTls([server.certificate_der], server.key_der)
    world.net.host(HOST, 443, world.server.handle, tls=tls)
    provision = world.provision(repository=f"{scheme}://{HOST}/")
    world.provision = lambda *a, **k: provision  # type: ignore[method-assign]
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        board.chip.heap_held = LITTLE
        world.publish()
        world.assign(path)
        assert run_until(board, 400, lambda: world.reported("confirmed"))
        assert board.console.count(ALONE) == lives


def test_what_it_refuses_is_told_by_the_next_life(world: World) -> None:
    world.add("pump/bad.app", b"no bundle", {"kind": "app", "version": "2.0.0"})
    with world.board_of() as board:
        short_of_memory(world, board, "pump/bad.app")
        assert run_until(board, 600, lambda: world.reported("refused"))
        assert world.reports()[-1]["code"] == "update-custom"
        assert board.console.count(ALONE) == 1
        (event,) = world.events("update")
        assert event["state"] == "refused" and event["reason"] == "update-custom"
        board.run(60)
        assert board.console.count(ALONE) == 1


def test_without_a_server_it_comes_back_and_ends_after_three(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        world.site.refuse = True
        longest = came = 0.0
        while not world.reported("failed") and board.now < 30_000:
            board.chip.heap_held = SHORT  # nor is there memory in any of its lives
            before = board.now
            board.run(10)
            came = came + board.now - before if board.sandbox and is_alone(board) else 0.0
            longest = max(longest, came)
        assert world.reported("failed"), board.console[-3000:]
        assert world.reports()[-1]["code"].startswith(("tcp-", "http-"))
        assert board.console.count(ALONE) == 3
        assert 600 < longest < 1900
        assert not world.events("safe-mode")
        # And it does not begin again by itself.
        board.run(900)
        assert board.console.count(ALONE) == 3
        # Another assignment has its own count, and works.
        world.site.refuse = False
        board.chip.heap_held = SHORT
        world.assign(path)
        assert run_until(board, 900, lambda: world.reported("confirmed"))


def ahead(files: dict[str, bytes]) -> list[str]:
    """The metadata that lies there unverified."""
    return [name for name in files if "/ahead/" in name]


def is_alone(board: Board) -> bool:
    return board.console.rfind(ALONE) > board.console.rfind("boot: fleetling")


def test_without_wifi_it_comes_back_too(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        assert run_until(board, 120, lambda: is_alone(board))
        for point in board.air.points:
            point["up"] = False
        assert run_until(board, 3600, lambda: not is_alone(board))
        for point in board.air.points:
            point["up"] = True
        assert run_until(board, 1200, lambda: world.reported("confirmed")), board.console[-2000:]


def test_a_cancellation_counts_once_it_is_back(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        world.site.refuse = True
        assert run_until(board, 120, lambda: is_alone(board))
        world.assign()
        assert run_until(board, 3600, lambda: not is_alone(board))
        world.site.refuse = False
        board.run(300)
        assert world.reports()[-1]["state"] == "idle"
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        assert board.console.count(ALONE) == 1


@pytest.mark.parametrize("kind", ["app", "firmware"])
def test_power_fails_in_it(world: World, kind: str, record_property: Any) -> None:
    """At every so many of the operations of both lives, before each and torn: a usual life
    follows, and it ends well."""
    old = firmware("1.0.0")
    path = world.add_app("1.1.0") if kind == "app" else world.add_firmware("1.1.0", base=old)
    with world.board_of(image=old) as board:
        short_of_memory(world, board, path)
        assert run_until(board, 120, lambda: "update-alone" in board.console)
        start = board.snapshot()
        assert run_until(board, 400, lambda: "reset: update-over" in board.console)
        operations = board.flash.operations
        board.restore(start)
        first = board.flash.operations
        points = range(1, operations - first, max(1, (operations - first) // POINTS))
        for number in points:
            board.restore(start)
            world.seen.clear()
            before = len(board.console)
            board.cut_at(board.flash.operations + number, TORN[number % len(TORN)])
            assert run_until(board, 900, lambda: world.reported("confirmed")), number
            text = board.console[before:]
            assert text.count(ALONE) <= 6 and "no slot" not in text, number
            if kind == "app":
                assert world.documents("up/birth")[-1]["app"] == "1.1.0"
            else:
                assert board.chip.running == "ota_1"
            assert not world.events("safe-mode")
        record_property("tried", len(points))


def test_what_it_requires_is_told_by_the_next_life_and_waited_for(world: World) -> None:
    path = world.add_app("1.1.0", requires={"firmware": "2.0.0"})
    with world.board_of() as board:
        short_of_memory(world, board, path)
        assert run_until(board, 400, lambda: "update-over" in board.console)
        board.chip.heap_held = SHORT
        board.run(600)
        report = world.reports()[-1]
        assert (report["state"], report["why"]) == ("waiting", "requires")
        assert report["detail"] == "firmware 2.0.0"
        assert board.console.count(ALONE) == 1


def test_what_it_required_may_have_come_since(world: World) -> None:
    path = world.add_app("1.1.0", requires={"firmware": "2.0.0"})
    two = world.add_firmware("2.0.0")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        held = world.broker.retained["fleetling/v1/dev/down/update"].payload
        assert run_until(board, 600, lambda: world.reported("waiting"))
        world.assign(two)
        assert run_until(board, 600, lambda: world.reported("confirmed"))
        world.broker.publish("fleetling/v1/dev/down/update", held, retain=True)
        assert run_until(board, 600, lambda: world.reported("trial")), world.reports()[-1]
        assert run_until(board, 600, lambda: world.reported("confirmed"))


def test_a_server_that_trickles_keeps_it_for_two_hours_at_most(world: World) -> None:
    path = world.add_firmware("1.1.0", firmware("1.1.0", 200_000))
    with world.board_of() as board:
        short_of_memory(world, board, path)
        world.site.bytes_per_s = 60
        assert run_until(board, 120, lambda: is_alone(board))
        begun = board.now
        assert run_until(board, 9000, lambda: not is_alone(board))
        assert 600 < board.now - begun < 7300
        assert "http-slow" in board.console
        world.site.bytes_per_s = 80_000
        assert run_until(board, 4000, lambda: world.reported("confirmed"))
        assert not world.events("safe-mode")


def test_a_server_without_end_cannot_fill_the_file_system(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        junk = b"HTTP/1.1 200 OK\r\nContent-Length: 32768\r\n\r\n" + b"x" * 32768
        world.server.instead = lambda path: [junk] if path.startswith("metadata/") else None
        assert run_until(board, 120, lambda: is_alone(board))
        most = 0
        while "fs-full" not in board.console:
            board.resume(0.2)
            # A large file takes blocks of its own, and a pointer or two in each.
            large = [len(data) for data in board.files().values() if len(data) > BLOCK]
            most = max(most, sum(-(-size // (BLOCK - 8)) for size in large))
        assert BLOCKS // 2 < most < BLOCKS - SPARE
        assert run_until(board, 4000, lambda: world.reported("failed"))
        assert not ahead(board.files())
        # Nor does what it fetched stay in the way of what a usual life needs.
        world.server.instead = lambda path: None
        world.assign(path)
        assert run_until(board, 900, lambda: world.reported("confirmed")), board.console[-2000:]


def test_what_a_cut_leaves_of_it_is_gone_with_the_next_start(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        world.site.bytes_per_s = 100
        assert run_until(board, 120, lambda: len(ahead(board.files())) > 1)
        world.site.bytes_per_s = 80_000
        board.power_cycle()
        board.run(1)
        assert not ahead(board.files())
        assert run_until(board, 400, lambda: world.reported("confirmed"))


def test_a_busy_application_is_not_reset_for_it(world: World) -> None:
    path = world.add_app("1.1.0")
    files = app("one", "await task.sleep(1)")
    files["app.py"] = files["app.py"].replace(
        b"    while True:", b"    import agent\n    agent.busy().__enter__()\n    while True:"
    )
    with world.board_of(files) as board:
        short_of_memory(world, board, path)
        board.run(120)
        assert board.console.count(ALONE) == 0
        assert world.reports()[-1]["why"] == "busy"


def test_how_it_ends_does_not_count_for_safe_mode_and_the_prompt_says_what_it_is(
    world: World,
) -> None:
    with world.board_of() as board:
        short_of_memory(world, board, world.add_app("1.1.0"))
        world.site.refuse = True
        assert run_until(board, 120, lambda: is_alone(board))
        board.interrupt()
        board.resume(1)
        shown = board.repl("import agent; agent.status()", seconds=5)
        assert "an update alone" in shown and "broker    not started" in shown
        flags = "import machine; print('good', machine.RTC().memory()[-25] & 1)"
        assert "good 1" in board.repl(flags, seconds=5)
