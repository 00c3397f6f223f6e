# SPDX-License-Identifier: MIT
"""Boards in their loader, for esptool: the mock ROM of esp32-mock-bootloader, in this process.

A `Port` is a TCP port with a board on it, or none. What is added to the mock: every board has a
MAC and a flash of its own (the mock has one of each for all), a flash may have another size, and
the cable can be cut after so many bytes. What the mock leaves out, and real chips do: it burns no
eFuses, never fails to write, and its FLASH_BEGIN does not erase.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from esp32_mock_bootloader import protocol, registers, server
from serial.urlhandler import protocol_socket

from fleetling.image.flash import TABLE_AT
from fleetling.simboard.chip import stock

__all__ = ["BOOTLOADER", "Board", "Port", "download", "mock_rom", "on_pty"]

TABLE = slice(TABLE_AT, TABLE_AT + 0x1000)
CHIP_IDS = {"esp32": 0, "esp32s3": 9, "esp32c3": 5}
STARTS = {"esp32": 0x1000, "esp32s3": 0x0, "esp32c3": 0x0}
BOOTLOADER = b"a bootloader of a few bytes "
_here = threading.local()


class Board:
    """A board: chip, MAC and flash, which outlive what it is plugged into.

    Attributes:
        cut_after: the cable is pulled when so many more bytes came in; None for never.
        received: bytes that came in so far.
        burnt: answers of registers that differ from a new chip's.
    """

    def __init__(self, number: int = 1, chip: str = "esp32", megabytes: int = 4) -> None:
        self.chip = chip
        self.mac = (0x24, 0x0A, 0xC4, 0, number >> 8, number & 0xFF)
        self.megabytes = megabytes
        self.flash = server.FlashImage()
        self.flash.data = bytearray(b"\xff" * (megabytes << 20))
        self.cut_after: int | None = None
        self.received = 0
        self.burnt: dict[int, int] = {}

    @property
    def mac_text(self) -> str:
        return ":".join(f"{byte:02x}" for byte in self.mac)

    @property
    def starts(self) -> bool:
        """Whether the ROM would get past bootloader and partition table."""
        at = STARTS[self.chip]
        table = bytes(self.flash.data[TABLE])
        return self.flash.data[at] == 0xE9 and table[:2] == b"\xaa\x50"

    def registers(self) -> dict[int, int]:
        return {**registers._mac_registers(self.chip, self.mac), **self.burnt}


class _Cable:
    """A socket that is pulled out when the board's budget of bytes is spent."""

    def __init__(self, sock: socket.socket, board: Board) -> None:
        self._sock = sock
        self._board = board

    def recv(self, size: int) -> bytes:
        chunk = self._sock.recv(size)
        board = self._board
        board.received += len(chunk)
        if board.cut_after is not None:
            board.cut_after -= len(chunk)
            if board.cut_after <= 0:
                board.cut_after = None
                raise ConnectionResetError
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Port:
    """A port of this machine; `url` is what `-p` takes.

    Args:
        board: what is on it.
        after: is called when a client has gone, and returns the board that is on it then.
    """

    def __init__(
        self, board: Board | None, after: Callable[[Board], Board | None] | None = None
    ) -> None:
        self.board = board
        self.connections = 0
        self._after = after
        self._stop = threading.Event()
        self._busy = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.05)
        self.url = f"socket://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def put(self, board: Board | None) -> Board | None:
        """Puts a board on when nobody is talking to the one that is; returns that one."""
        with self._busy:
            before, self.board = self.board, board
        return before

    def settle(self) -> None:
        """Waits until the board has noticed that its client is gone."""
        with self._busy:
            pass

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._listening.accept()
            except TimeoutError:
                continue
            with self._busy:
                self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        board = self.board
        if board is None:
            sock.close()
            return
        self.connections += 1
        _here.board = board
        cable = server.BootloaderConnection(sock=_Cable(sock, board))
        server.handle_client(
            cable, self._stop, board.chip, exit_on_disconnect=True, flash=board.flash
        )
        if self._after is not None:
            self.board = self._after(board)


def on_pty(board: Board) -> str:
    """A board on a pseudo-terminal, for one client; the path of its port."""
    transport = server.PtyMasterTransport.create(track_disconnect=True)
    path = str(transport.client_path)

    def serve() -> None:
        _here.board = board
        cable = server.BootloaderConnection(pty=transport)
        server.handle_client(
            cable, threading.Event(), board.chip, exit_on_disconnect=True, flash=board.flash
        )

    threading.Thread(target=serve, daemon=True).start()
    return path


@pytest.fixture(scope="module")
def mock_rom() -> Iterator[Callable[..., Port]]:
    """Makes ports; the mock answers for the board of the thread that asks."""
    patch = pytest.MonkeyPatch()
    plain = server._read_reg_value_for_chip

    def answer(addr: int, chip: str) -> int:
        own: dict[int, int] = _here.board.registers()
        return own[addr] if addr in own else int(plain(addr, chip))

    patch.setattr(server, "_read_reg_value_for_chip", answer)
    # The mock's stub waits 50 ms for the acknowledgement of what was read; too short for pyserial,
    # which takes a socket's bytes one by one.
    patch.setattr(server, "_CLIENT_RECV_TIMEOUT", 5.0)
    # pyserial rests 0.3 s after it has closed a socket.
    patch.setattr(protocol_socket, "time", SimpleNamespace(sleep=lambda seconds: None))
    spi = server.SpiPeripheralMock.read_reg

    def flash_id(self: Any, addr: int) -> int:
        value = int(spi(self, addr))
        if value == protocol.MOCK_FLASH_ID:
            log2: int = (_here.board.megabytes << 20).bit_length() - 1
            return int(value & 0xFFFF | log2 << 16)
        return value

    patch.setattr(server.SpiPeripheralMock, "read_reg", flash_id)
    made: list[Port] = []

    def port(board: Board | None = None, **options: Any) -> Port:
        made.append(Port(board, **options))
        return made[-1]

    yield port
    for each in made:
        each.close()
    patch.undo()


def download(chip: str = "esp32", body: bytes = b"", version: str = "v1.25.0") -> bytes:
    """A firmware as downloaded: a small bootloader, the stock table, a small app."""
    number = CHIP_IDS[chip]
    start = STARTS[chip]
    bootloader = bytearray(stock.build_image([(0x3FFF0000, BOOTLOADER * 40)], True, number))
    app = stock.build_app(version=version, body=body, chip_id=number)
    made = bytearray(b"\xff" * (0x10000 - start))
    made[: len(bootloader)] = bootloader
    at = TABLE_AT - start
    made[at : at + len(stock.TABLE)] = stock.TABLE
    return bytes(made) + bytes(app)
