# SPDX-License-Identifier: MIT
"""Boards on a pseudo-terminal, as a bench has them on a serial port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleetling.image.flash import build_flash, first_files
from fleetling.simboard.chip import stock
from fleetling.simboard.process.terminal import BoardOnPty

BLANK = b"\xff" * 0x4000


class Bench:
    """Makes boards and powers them: `bench(files, nvs)`, its files by path; without, the agent."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def __call__(self, files: dict[str, bytes] | None = None, nvs: bytes = BLANK) -> BoardOnPty:
        folder = self._folder / f"board{len(list(self._folder.glob('board*')))}"
        folder.mkdir()
        flash = build_flash(
            firmware=stock.build_app(),
            nvs=nvs,
            files=first_files("0") if files is None else files,
        )
        (folder / "flash.bin").write_bytes(flash)
        made = BoardOnPty(folder)
        self._stack.enter_context(made)
        self.until(lambda: made.board.heap_at_boot, "the board starts")
        return made

    @staticmethod
    def until(done: Callable[[], object], what: str) -> None:
        """Waits for something that is sure to come, however slow the machine."""
        for _ in range(600):
            if done():
                return
            time.sleep(0.1)
        raise AssertionError(f"never: {what}")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)
