# SPDX-License-Identifier: MIT
"""Puts the agent on a board that already runs MicroPython.

Invariants, so that a cut at any instant leaves a board that runs the old or the new:
- nothing that runs is written: a file is made whole under another name, read back, then renamed;
- the slot is there before boot.py that verifies it, boot.py before main.py that needs it;
- between the two, a main.py that was there before runs without a watchdog that it does not feed:
  development mode is on from before the first rename until after the last;
- a file of the user's is kept under another name before it is replaced;
- the id is stored last: a board that was provisioned by half is one that was not provisioned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from fleetling import device
from fleetling.errors import FleetlingError
from fleetling.port.board import Board
from fleetling.port.checks import BEFORE, GOOD, SKIPPED, WRONG, Finding
from fleetling.port.facts import Facts

__all__ = ["Plan", "carry_out", "plan", "provision"]

PACK = "/slots/factory.pack"
MARK = "/fl-install"  # stands while development mode is on for the installation
LAST = "/main.py"
BEFORE_LAST = "/boot.py"
# What tells the agent's own files, of any version, from a user's.
OURS = {"/boot.py": b"fl_state", "/main.py": b"agent.main()", "/rescue.py": b"fl_state"}
SPARE = 24 * 1024  # littlefs's own, and what the agent writes at its first start
NAMESPACE = "fl_factory"

OnBytes = Callable[[str, int], object]


@dataclass
class Plan:
    """What an installation will do.

    Attributes:
        findings: what was looked at before.
        changed: files to write, in order, by path.
        same: files that are there already.
        kept: files of the user's that are kept, and under which name.
        size: bytes to write.
    """

    findings: list[Finding] = field(default_factory=list)
    changed: dict[str, bytes] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(len(data) for data in self.changed.values())

    @property
    def limits(self) -> list[Finding]:
        """What cannot be protected there."""
        return [each for each in self.findings if each.state not in (GOOD, SKIPPED)]


def wanted(application: dict[str, bytes], version: str) -> dict[str, bytes]:
    """The files of a board with the agent, in the order in which they are written."""
    slot = device.pack(device.slot_files(version, application))
    outside = {"/" + name: data for name, data in device.board_files().items()}
    last = [BEFORE_LAST, LAST]
    first = [path for path in outside if path not in last]
    return {PACK: slot, **{path: outside[path] for path in first + last}}


def plan(board: Board, facts: Facts, files: dict[str, bytes]) -> Plan:
    """Looks at the board, and writes nothing.

    Raises:
        FleetlingError: the agent cannot run there, or does not fit.
    """
    made = Plan([check(facts) for check in BEFORE])
    wrong = [each for each in made.findings if each.state == WRONG]
    if wrong:
        raise FleetlingError(
            "\n".join(f"{each.check}: {each.text}" for each in wrong), wrong[0].remedy
        )
    kept_size = 0
    for path, data in files.items():
        there = board.sha256(path)
        if there == (len(data), hashlib.sha256(data).hexdigest()):
            made.same.append(path)
            continue
        made.changed[path] = data
        if there and path in OURS and _of_a_user(board.read(path), OURS[path]):
            made.kept[path] = path[:-3] + ".before-fleetling.py"
            kept_size += there[0]
    free = (facts.said.get("storage") or [0, 0])[1]
    need = made.size + kept_size + SPARE
    if made.changed and need > free:
        raise FleetlingError(
            f"{need:,} bytes are needed while it is written; {free:,} are free",
            "Remove files from the board (mpremote fs), or use one with a larger vfs partition.",
        )
    return made


def _of_a_user(data: bytes, ours: bytes) -> bool:
    """Whether anybody would miss it: stock firmware's boot.py has comments alone."""
    lines = [line.strip() for line in data.splitlines()]
    return ours not in data and any(line and not line.startswith(b"#") for line in lines)


def carry_out(board: Board, made: Plan, progress: OnBytes | None = None) -> None:
    """Does what was planned. Cut anywhere, it can be planned and done again.

    Args:
        progress: called with a path and the bytes of it that were written since.
    """
    cut_before = board.sha256(MARK) is not None
    board.make_folder("/slots")
    for path, data in made.changed.items():
        new = path + ".new"
        tell = (lambda count, path=path: progress(path, count)) if progress else None
        board.write(new, data, tell)
    for path, name in made.kept.items():
        board.write(name, board.read(path))
    outside = [path for path in made.changed if path != PACK]
    if PACK in made.changed:
        board.rename(PACK + ".new", PACK)
    bridge = bool(outside) and (cut_before or board.number("fl_state", "dev") != 1)
    if bridge:
        board.write(MARK, b"")
        board.number("fl_state", "dev", 1)
    for path in outside:
        board.rename(path + ".new", path)
    if bridge or cut_before:
        board.number("fl_state", "dev", 0)
        board.remove(MARK)
    board.restart = True


def provision(board: Board, facts: Facts, values: dict[str, bytes]) -> bool:
    """Stores what a board leaves the bench with; whether anything was to be changed.

    Args:
        values: of NVS, by key.

    Raises:
        FleetlingError: the board is another one already.
    """
    name = values["id"].decode()
    there = facts.text("id")
    if there and there != name and facts.said.get("own_key"):
        raise FleetlingError(
            f"The board is {there} and has enrolled; it cannot become {name} just so",
            "First: fleetling reset -p PORT --level identity. Nothing was changed.",
        )
    differing = [
        key
        for key, data in values.items()
        if board.blob_digest(NAMESPACE, key) != hashlib.sha256(data).hexdigest()
    ]
    if not differing:
        return False
    board.set_blob(NAMESPACE, "id", None)
    for key in FACTORY_KEYS:
        if key in values and key != "id":
            board.set_blob(NAMESPACE, key, values[key])
        elif key != "id":
            board.set_blob(NAMESPACE, key, None)
    board.set_blob(NAMESPACE, "id", values["id"])
    board.restart = True
    return True


# All that may stand there: what a board had under another claim must not stay.
FACTORY_KEYS = (
    *("id", "ca", "broker", "enrol", "wifi", "ntp", "repo", "root", "conf"),
    *("claim_crt", "claim_key", "crt", "key"),
)
