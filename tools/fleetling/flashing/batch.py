# SPDX-License-Identifier: MIT
"""Many boards, on several ports at once: a thread a port, an id for each board that comes.

A board that is put on a port gets its own id again, or the next that nobody had. It may be taken
off in the middle, the power may fail, this program may be killed: the ledger says what is bound,
and the same batch again goes on with what is not done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleetling.errors import FleetlingError
from fleetling.flashing.bench import Bench, check_standing
from fleetling.flashing.board import Chip, Loader, NoBoard
from fleetling.flashing.ledger import Entry
from fleetling.flashing.standing import Standing
from fleetling.image.flash import Layout, Region

__all__ = ["Batch", "Connect", "News", "Tell"]

# The kinds of news.
WAITING, START, PROGRESS, DONE, ALREADY, REFUSED, LOST = (
    "waiting",
    "start",
    "progress",
    "done",
    "already",
    "refused",
    "lost",
)


@dataclass(frozen=True)
class News:
    """Something happened on a port.

    Attributes:
        kind: "waiting", "start", "progress", "done", "already", "refused" or "lost".
        text: why, where it waits, was refused or lost; the region, in progress.
        done, total: bytes, in progress.
    """

    port: str
    kind: str
    device_id: str = ""
    mac: str = ""
    text: str = ""
    done: int = 0
    total: int = 0


Connect = Callable[[str], Loader]
Tell = Callable[[News], None]


class _Stopped(Exception):
    """Somebody wants to end; the board on this port is half written."""


class Batch:
    """The boards of a list.

    Args:
        bench: how they are flashed.
        ids: provisioned, in the order in which they are given out.
        connect: takes the board on a port into its loader; NoBoard where there is none.
        tell: is called from the ports' threads.
        pause_s: between two looks at a port.
        patience_s: how long a port may be without a new board before it is given up.
        after: how a finished board is let go, as esptool names it.
    """

    def __init__(
        self,
        bench: Bench,
        ids: Sequence[str],
        connect: Connect,
        tell: Tell,
        *,
        pause_s: float = 2.0,
        patience_s: float = 600.0,
        after: str = "hard-reset",
    ) -> None:
        self.bench = bench
        self.ids = list(ids)
        self._connect = connect
        self._tell = tell
        self._pause_s = pause_s
        self._patience_s = patience_s
        self._after = after
        self._stop = threading.Event()
        self._fault: BaseException | None = None

    def entries(self) -> list[Entry]:
        """The boards of the list that have their id, in its order."""
        found = [self.bench.ledger.of(device_id) for device_id in self.ids]
        return [entry for entry in found if entry is not None]

    def missing(self) -> list[str]:
        """The ids whose boards are not done."""
        done = {entry.device_id for entry in self.entries() if entry.flashed}
        return [device_id for device_id in self.ids if device_id not in done]

    def run(self, ports: Sequence[str]) -> None:
        """Works until all boards are done, or no port has had a new board for too long.

        A KeyboardInterrupt ends the threads first: no board is written to when it is raised again.
        """
        threads = [
            threading.Thread(target=self._guarded, args=(port,), name=f"flash-{port}")
            for port in ports
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._fault is not None:
            raise self._fault

    def _guarded(self, port: str) -> None:
        try:
            self._work(port)
        except _Stopped:
            pass
        except BaseException as e:  # noqa: BLE001 - raised again by `run`
            self._fault = e
            self._stop.set()

    def _work(self, port: str) -> None:
        seen = ""
        since = time.monotonic()
        waits = False
        while not self._stop.is_set() and self.missing():
            try:
                with self._connect(port) as board:
                    waits = False
                    if board.chip.mac != seen:
                        self._one(port, board)
                        seen, since = board.chip.mac, time.monotonic()
            except NoBoard as e:
                if not waits:
                    self._tell(News(port, WAITING, text=e.message))
                waits = True
            if time.monotonic() - since > self._patience_s:
                return
            if self.missing():
                self._stop.wait(self._pause_s)

    def _one(self, port: str, board: Loader) -> None:
        """Deals with a new board; NoBoard where it was lost and is to be tried again."""
        mac = board.chip.mac
        device_id = ""
        try:
            seen = self.bench.look(board)
            device_id = self._own_id(board.chip, seen[1])
            if device_id and self._is_done(device_id):
                self._tell(News(port, ALREADY, device_id, mac))
            else:
                device_id = device_id or self._next_id(board.chip)
                self._flash(port, board, device_id, seen)
                self._tell(News(port, DONE, device_id, mac))
            board.reset(self._after)
        except NoBoard as e:
            self._tell(News(port, LOST, device_id, mac, e.message))
            raise
        except FleetlingError as e:
            self._tell(News(port, REFUSED, device_id, mac, f"{e.message}. {e.hint}"))

    def _is_done(self, device_id: str) -> bool:
        entry = self.bench.ledger.of(device_id)
        return entry is not None and bool(entry.flashed)

    def _own_id(self, chip: Chip, standing: Standing) -> str:
        """The id that the board has already, "" for none; refuses before an id is spent."""
        ledger = self.bench.ledger
        own = ledger.at(chip.mac)
        if own is None:
            if not self.bench.force:
                check_standing(standing, "")
            return ""
        if own.device_id not in self.ids:
            raise FleetlingError(
                f"This board is {own.device_id}, which is not in the list", "Put it aside."
            )
        if standing.enrolled and standing.device_id == own.device_id and not own.flashed:
            # It was complete, and started, before that could be noted.
            ledger.finish(own.device_id, chip.mac, chip.name)
        return own.device_id

    def _next_id(self, chip: Chip) -> str:
        device_id = self.bench.ledger.take(chip.mac, chip.name, self.ids)
        if device_id is None:
            raise FleetlingError(
                f"No id is left for this board; {len(self.missing())} wait for the boards that "
                "were begun as them",
                "Put those on again, or put more ids into the file.",
            )
        return device_id

    def _flash(
        self, port: str, board: Loader, device_id: str, seen: tuple[Layout, Standing]
    ) -> None:
        mac = board.chip.mac
        plan = self.bench.plan(board, device_id, seen)
        total = sum(len(region.data) for region in plan.regions)
        done = {region.label: 0 for region in plan.regions}
        self._tell(News(port, START, device_id, mac, total=total))

        def progress(region: Region, now: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            done[region.label] = now
            so_far = sum(done.values())
            self._tell(News(port, PROGRESS, device_id, mac, region.label, so_far, total))

        self.bench.flash(board, plan, progress)
