# SPDX-License-Identifier: MIT
"""A board at its raw prompt: files, NVS, and an end that leaves it as it should be.

Whatever ran was stopped to get here. At the end the board resets, so that it runs again, where the
agent was found on it or its watchdog is on; else it is left at its prompt. Every step feeds the
watchdog, or ends well within its minute.
"""

from __future__ import annotations

import base64
import json
import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.port.prompt import PortError, Prompt, RaisedError, SilentError

__all__ = ["TOOLS", "Board", "lean", "open_prompt", "session"]

TOOLS = ("mpremote", "ampy")
CHUNK = 3072  # bytes of a file that go in one line, deflated
WBITS = 12
HASH_S = 60
ERASE_S = 60

ONBOARD = Path(__file__).with_name("onboard.py")


def open_prompt(port: str, tool: str = "mpremote") -> Prompt:
    """The prompt of the board on `port`, through one of TOOLS.

    Raises:
        PortError: the port cannot be opened.
    """
    if tool == "ampy":
        from fleetling.port.ampy import Ampy

        return Ampy(port)
    from fleetling.port.remote import Mpremote

    return Mpremote(port)


class Board:
    """What a board is asked and told. `session` makes one.

    Attributes:
        running: whether the agent was found on it.
        watched: whether its watchdog is on, which cannot be stopped.
        restart: whether it resets at the end.
    """

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.running = self.watched = False
        self.restart = False

    def enter(self) -> None:
        """Stops what runs there.

        Raises:
            SilentError: nothing answers as MicroPython does.
            FleetlingError: what answers lacks what is needed.
        """
        self.prompt.enter()
        code = lean(ONBOARD.read_text())
        try:
            try:
                self.run(code)
            except SilentError:
                # It was caught in a start, or a program has left something behind.
                self.prompt.enter()
                self.prompt.soft_reset()
                self.run(code)
        except RaisedError as e:
            raise FleetlingError(
                f"The MicroPython on {self.prompt.port} lacks what is needed", e.trace.strip()
            ) from e
        self.running, self.watched = self.ask("fl.say([bool(fl.running), fl.watched])")
        self.restart = self.restart or self.running or self.watched

    def run(self, code: str, silence_s: float = 10) -> bytes:
        """What the code prints; RaisedError, SilentError."""
        return self.prompt.run(code, silence_s)

    def ask(self, code: str, silence_s: float = 10) -> Any:
        """What the code says as a last line of JSON."""
        lines = self.run(code, silence_s).decode(errors="replace").strip().splitlines()
        try:
            return json.loads(lines[-1])
        except (ValueError, IndexError) as e:
            raise SilentError(
                f"The board on {self.prompt.port} answers with something else",
                "A program of its own may write to the prompt. Run the command again.",
            ) from e

    # --- files

    def sha256(self, path: str) -> tuple[int, str] | None:
        """Size and SHA-256 in hex of a file as it stands in flash; None where there is none."""
        found = self.ask(f"fl.sha({path!r})", HASH_S)
        return (found[0], found[1]) if found else None

    def write(
        self, path: str, data: bytes, progress: Callable[[int], object] | None = None
    ) -> None:
        """Writes a file, and reads it back. What was there is gone from the first byte on: to
        replace a file, write another one and rename it.

        Args:
            progress: called with the bytes that were written since.

        Raises:
            RaisedError: the board could not; nothing of it is left there then.
        """
        try:
            self.run(f"fl.begin({path!r})", ERASE_S)
            for at in range(0, len(data), CHUNK):
                chunk = data[at : at + CHUNK]
                self.run(f"fl.more({_packed(chunk)!r})", ERASE_S)
                if progress:
                    progress(len(chunk))
            self.run("fl.end()", ERASE_S)
        except RaisedError:
            with suppress(FleetlingError):
                self.run(f"fl.end()\nfl.remove({path!r})", ERASE_S)
            raise
        if self.sha256(path) != (len(data), sha256(data).hexdigest()):
            with suppress(FleetlingError):
                self.remove(path)
            raise FleetlingError(
                f"What the board holds as {path} is not what was sent",
                "Nothing was replaced. Run the command again; if it stays, its flash is worn.",
            )

    def read(self, path: str) -> bytes:
        """A file; RaisedError with the errno where that does not go."""
        data = b""
        while True:
            part = base64.b64decode(self.ask(f"fl.part({path!r}, {len(data)})"))
            if not part:
                return data
            data += part

    def listdir(self, path: str) -> list[tuple[str, bool, int]]:
        """(name, whether it is a folder, size) of what is in a folder."""
        return [(name, folder, size) for name, folder, size in self.ask(f"fl.names({path!r})")]

    def make_folder(self, path: str) -> None:
        """Makes a folder, unless it is there."""
        self.run(f"fl.folder({path!r})")

    def remove(self, path: str) -> None:
        """Removes a file, if there is one."""
        self.run(f"fl.remove({path!r})", ERASE_S)

    def rename(self, old: str, new: str) -> None:
        """Gives a file another name, in place of the one that had it, in one step."""
        self.run(f"os.rename({old!r}, {new!r})", ERASE_S)

    # --- NVS

    def number(self, space: str, key: str, value: int | None = None) -> int:
        """An integer of NVS, 0 where there is none; `value` is what it is from now on."""
        return int(self.ask(f"fl.number({space!r}, {key!r}, {value!r})", ERASE_S))

    def blob_digest(self, space: str, key: str) -> str | None:
        """SHA-256 in hex of a blob of NVS, which itself stays there."""
        found = self.ask(f"fl.digest({space!r}, {key!r})")
        return str(found) if found else None

    def set_blob(self, space: str, key: str, data: bytes | None) -> None:
        """Stores a blob in NVS; None takes it away."""
        text = None if data is None else base64.b64encode(data).decode()
        self.run(f"fl.blob({space!r}, {key!r}, {text!r})", ERASE_S)

    # --- the end

    def end(self) -> None:
        """Lets the board go: by a reset, or at its prompt."""
        if self.restart:
            self.prompt.let_go("fl.end()\nfl.restart()")
        else:
            self.run("fl.end()\nfl.watched and fl.forgive()\ndel fl, Fl")
            self.prompt.leave()


@contextmanager
def session(port: str, tool: str = "mpremote") -> Iterator[Board]:
    """A board at its raw prompt. However this ends, the board is let go; Ctrl-C cannot cut that
    short.

    Raises:
        PortError: the port cannot be opened.
        SilentError: nothing answers as MicroPython does.
    """
    board = Board(open_prompt(port, tool))
    try:
        board.enter()
        try:
            yield board
        except KeyboardInterrupt:
            with _deaf(), suppress(FleetlingError):
                board.enter()  # it was in the middle of a line
                board.end()
            raise
        except (PortError, SilentError):
            raise
        except BaseException:
            with _deaf(), suppress(FleetlingError):
                board.end()
            raise
        with _deaf():
            board.end()
    finally:
        board.prompt.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C waits: what runs here takes a moment, and has to be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _packed(data: bytes) -> str:
    made = zlib.compressobj(9, zlib.DEFLATED, -WBITS)
    return base64.b64encode(made.compress(data) + made.flush()).decode()


def lean(source: str) -> str:
    """The source without what costs time on the line: lines of comments, docstrings."""
    lines, inside = [], False
    for line in source.splitlines():
        text = line.strip()
        quotes = text.count('"""')
        if inside or quotes:
            inside ^= quotes == 1
            continue
        if text and not text.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"
