# SPDX-License-Identifier: MIT
"""One program on the CPython board and on the real interpreter's."""

from __future__ import annotations

import time
from pathlib import Path

from fleetling.image.flash import build_flash
from fleetling.simboard.chip import stock
from fleetling.simboard.inprocess import Board
from fleetling.simboard.process.board import ProcessBoard

__all__ = ["said_by_both"]

END = "--- end"
PATIENCE_S = 20


def said_by_both(program: str, folder: Path) -> tuple[list[str], list[str]]:
    """The lines that `program` prints: on the CPython board, and on MicroPython."""
    main = f"{program}\nprint({END!r})\n".encode()
    with Board(files={"main.py": main}) as simulated:
        simulated.boot(60)
        here = simulated.console.splitlines()
    image = build_flash(firmware=stock.build_app(), nvs=b"\xff" * 0x4000, files={"main.py": main})
    (folder / "flash.bin").write_bytes(image)
    there: list[str] = []
    real = ProcessBoard(folder, on_line=there.append)
    real.start()
    until = time.monotonic() + PATIENCE_S
    while END not in there and real.powered and time.monotonic() < until:
        time.sleep(0.02)
    real.stop()
    assert END in there, there
    return here[: here.index(END)], there[: there.index(END)]
