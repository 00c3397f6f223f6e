# SPDX-License-Identifier: MIT
"""Which identity is on which board: a file that only grows.

Invariants:
- an id is bound to a board's MAC, and that is on the disk, before the first byte is written;
- an id that was ever bound is not given to another board, unless somebody says so with `force`;
- a board that comes back gets its own id again;
- a line that a cut tore counts for nothing: nothing was written to a board for it.

One JSON object a line: {"at", "event": "bound" or "flashed", "id", "mac", "chip"}. Several
processes may use it at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fleetling.errors import FleetlingError
from fleetling.files import sync

__all__ = ["NAME", "Entry", "Ledger"]

NAME = "flashed.jsonl"
BOUND, FLASHED = "bound", "flashed"


@dataclass(frozen=True)
class Entry:
    """Whose an id is.

    Attributes:
        device_id, mac, chip: the board.
        bound: when it was given the id.
        flashed: when its flash was complete and right; "" until then.
    """

    device_id: str
    mac: str
    chip: str
    bound: str
    flashed: str = ""


class Ledger:
    """The ledger in a fleet's folder.

    Raises:
        FleetlingError: it is damaged in a place that no cut reaches.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_id: dict[str, Entry] = {}
        self._by_mac: dict[str, str] = {}
        self._used: set[str] = set()
        self._read = 0
        self._lock = threading.Lock()
        if path.exists():
            with self._held():
                pass

    def of(self, device_id: str) -> Entry | None:
        """The board that has this id."""
        return self._by_id.get(device_id)

    def at(self, mac: str) -> Entry | None:
        """What the board with this MAC has."""
        return self._by_id.get(self._by_mac.get(mac, ""))

    def check(self, device_id: str, mac: str) -> None:
        """Refuses to put an id on a board that is not its own.

        Raises:
            FleetlingError: the id or the board is bound to another.
        """
        owner, own = self.of(device_id), self.at(mac)
        if own is not None and own.device_id != device_id:
            raise FleetlingError(
                f"This board is {own.device_id} ({self.path.name}: {mac})",
                f"Flash it as {own.device_id}, or take --force to make it {device_id}.",
            )
        if owner is not None and owner.mac != mac:
            raise FleetlingError(
                f"{device_id} is the board {owner.mac}, and this is {mac} ({self.path.name})",
                "Two boards must not have one identity. Take another id; or, if that board is no "
                f"more: fleetling provision --again {device_id}, then --force.",
            )

    def bind(self, device_id: str, mac: str, chip: str, *, force: bool = False) -> None:
        """Binds an id to a board; on the disk when this returns.

        Raises:
            FleetlingError: the id or the board is bound to another, and not `force`.
        """
        with self._held() as file:
            if not force:
                self.check(device_id, mac)
            owner = self.of(device_id)
            if owner is None or owner.mac != mac:
                self._append(file, BOUND, device_id, mac, chip)

    def take(self, mac: str, chip: str, ids: Iterable[str]) -> str | None:
        """The id of a board: its own, or the first one that nobody ever had, which is bound.

        Returns:
            None where none is left.
        """
        with self._held() as file:
            own = self.at(mac)
            if own is not None:
                return own.device_id
            for device_id in ids:
                if device_id not in self._used:
                    self._append(file, BOUND, device_id, mac, chip)
                    return device_id
        return None

    def finish(self, device_id: str, mac: str, chip: str) -> None:
        """Notes that the board's flash is complete; on the disk when this returns."""
        with self._held() as file:
            self._append(file, FLASHED, device_id, mac, chip)

    @contextmanager
    def _held(self) -> Iterator[BinaryIO]:
        """The open file, for this thread and process alone, with what others wrote known."""
        with self._lock, self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._catch_up(file)
            yield file

    def _catch_up(self, file: BinaryIO) -> None:
        file.seek(self._read)
        for line in file.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                # Torn by a cut, and never acted upon.
                file.truncate(self._read)
                break
            self._learn(line)
            self._read += len(line)

    def _learn(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            event, device_id, mac = row["event"], row["id"], row["mac"]
            entry = Entry(device_id, mac, row["chip"], row["at"])
        except (ValueError, KeyError, TypeError) as e:
            raise FleetlingError(
                f"{self.path} is damaged after {self._read} bytes",
                "Bring it back from your backup: without it, an identity may be given twice.",
            ) from e
        if event == FLASHED:
            bound = self._by_id.get(device_id)
            if bound is not None and bound.mac == mac:
                self._by_id[device_id] = Entry(device_id, mac, row["chip"], bound.bound, row["at"])
            return
        before = self._by_id.get(device_id)
        if before is not None:
            self._by_mac.pop(before.mac, None)
        old = self._by_mac.get(mac)
        if old is not None:
            self._by_id.pop(old, None)
        self._used.add(device_id)
        self._by_id[device_id] = entry
        self._by_mac[mac] = device_id

    def _append(self, file: BinaryIO, event: str, device_id: str, mac: str, chip: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"at": at, "event": event, "id": device_id, "mac": mac, "chip": chip}
        line = json.dumps(row).encode() + b"\n"
        new = self._read == 0
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
        if new:
            sync(self.path.parent)
        self._learn(line)
        self._read += len(line)
