# SPDX-License-Identifier: MIT
"""`fleetling console` on a terminal, and without one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import pexpect

if TYPE_CHECKING:
    from pty_board import Bench

pytest_plugins = ("pty_board",)

ECHO = b'import machine\nprint("it starts, cause", machine.reset_cause())\n'
FILES = {"boot.py": b"# boot.py\n", "main.py": ECHO}


def console(path: str) -> Any:
    return pexpect.spawn(
        sys.executable, ["-m", "fleetling", "console", "-p", path], timeout=60, encoding="utf-8"
    )


def leave(there: Any, key: str) -> None:
    there.send(key)
    there.expect(pexpect.EOF)
    there.close()
    assert there.exitstatus == 0


def test_a_person_works_at_the_prompt_over_resets(bench: Bench) -> None:
    on = bench(FILES)
    there = console(on.path)
    there.expect("Ctrl-] or Ctrl-X leaves")
    there.send("\r")
    there.expect(">>> ")
    there.send("6 * 7\r")
    there.expect("42")
    there.send("while True: pass\r\r")
    there.send("\x03")  # the board's, not ours
    there.expect("KeyboardInterrupt")
    there.send("machine.reset()\r")
    there.expect("it starts, cause 2")
    leave(there, "\x1d")


def test_it_waits_for_a_board_that_is_unplugged(bench: Bench) -> None:
    on = bench(FILES)
    link = str(on.link)
    there = console(link)
    there.expect("leaves")
    on.__exit__(None, None, None)
    there.expect("is gone")
    on.__init__(on.board.folder)  # type: ignore[misc]
    on.__enter__()
    there.expect("is back")
    there.send("\r1 + 1\r")
    there.expect("2\r\n")
    leave(there, "\x18")


def test_the_terminal_is_as_it_was(bench: Bench) -> None:
    on = bench(FILES)
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    for key in (b"\x1d", None):
        process = subprocess.Popen(
            [sys.executable, "-m", "fleetling", "console", "-p", on.path],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        process.stderr.readline()
        bench.until(lambda: termios.tcgetattr(slave) != before, "raw mode")
        if key:
            os.write(master, key)
        else:
            process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == (0 if key else 130)
        assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_without_a_terminal_it_prints_what_the_board_says(bench: Bench) -> None:
    on = bench(
        {**FILES, "main.py": b"import time\nwhile True:\n    print('tick')\n    time.sleep(1)\n"}
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetling", "console", "-p", on.path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert b"tick\r\n" in lines
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0 and said == b""
