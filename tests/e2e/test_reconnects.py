# SPDX-License-Identifier: MIT
"""A board whose connection is cut again and again: no growth of heap, no lost event."""

from __future__ import annotations

import contextlib
import select
import socket
import statistics
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetling.demo.fleet import HOST, TemporaryFleet

RECONNECTS = 200
RESTARTS = 10
WARM_UP = 20
GROWTH = 4096  # bytes; a leak of one small object a reconnect would pass it


class Wire:
    """A TCP relay on loopback that can be cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            ready, _, _ = select.select([self._listener], [], [], 0.1)
            if not ready:
                continue
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection((HOST, self._target))
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while data := source.recv(4096):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.cut()
        self._listener.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TemporaryFleet]:
    made = TemporaryFleet(tmp_path, broker="mosquitto")
    made.broker.start()
    yield made
    made.broker.stop()


@pytest.mark.slow
def test_forced_reconnects_and_broker_restarts(fleet: TemporaryFleet) -> None:
    wire = Wire(fleet.files.port)
    lines: list[str] = []
    board = fleet.board(
        fleet.provision(
            "dev", broker=f"{HOST}:{wire.port}", settings={"reconnect_s": 0, "heartbeat_s": 0.1}
        ),
        on_line=lines.append,
    )
    used: list[int] = []
    connects = 0
    with fleet.operator() as operator, contextlib.ExitStack() as ending:
        ending.callback(board.stop)
        board.start()
        devices = operator.state.devices

        def back(_: object) -> bool:
            device = devices.get("dev")
            return (
                device is not None and device.health.get("link", {}).get("connects", 0) > connects
            )

        for number in range(RECONNECTS):
            assert operator.wait(back, 30), (number, lines[-10:])
            health = devices["dev"].health
            connects = health["link"]["connects"]
            used.append(-health["m"]["heap"][0])
            if number % (RECONNECTS // RESTARTS) == RESTARTS:
                fleet.broker.stop()
                fleet.broker.start()
            wire.cut()
        assert operator.wait(back, 30), lines[-10:]
        assert operator.command("dev", "ping")["status"] == "ok"
        device = devices["dev"]
        assert device.boot == 1, "the watchdog was starved"
        # Each cut follows the first heartbeat, so the event may not have had its turn before.
        assert operator.wait(lambda _: device.last_event == 1, 30)
        assert device.missed_events == 0
    wire.close()
    # The median: what is loaded at the moment differs from one heartbeat to the next.
    early, late = (round(statistics.median(part)) for part in (used[:WARM_UP], used[-WARM_UP:]))
    seconds = float(lines[-1].split()[0])
    print(f"\n{connects} connects in {seconds:.0f} s; heap free {-early} -> {-late} bytes")  # noqa: T201
    assert late - early < GROWTH, used
