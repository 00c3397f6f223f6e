# SPDX-License-Identifier: MIT
"""A crash's trace beside the source that it ran: the agent's from this installation, where the
versions are the same, the application's from a folder that a person names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fleetling
from fleetling import device

__all__ = ["Frame", "frames"]

LONGEST = 1 << 20


@dataclass(frozen=True)
class Frame:
    """One line of a trace; `source` is "" where it is not to be had."""

    file: str
    line: int
    function: str
    source: str


def frames(crash: Mapping[str, Any], agent: object, source: Path | None) -> list[Frame]:
    """The frames of a crash record, innermost last.

    Args:
        crash: the record, as the board sent it.
        agent: the version of the board's agent, as its birth document says.
        source: the folder of the application's source, if there is one.
    """
    trace = crash.get("trace")
    found = []
    for row in trace if isinstance(trace, list) else ():
        if not (isinstance(row, list) and len(row) == 3):
            continue
        file, line, function = row
        if not (isinstance(file, str) and isinstance(line, int) and isinstance(function, str)):
            continue
        found.append(Frame(file, line, function, _line(file, line, agent, source)))
    return found


def _line(file: str, line: int, agent: object, source: Path | None) -> str:
    if file.startswith("agent/"):
        folder = device.source_folder() if agent == fleetling.__version__ else None
    else:
        folder = source
    if folder is None:
        return ""
    # A board must not make us read what is outside of the folder.
    root = folder.resolve()
    path = (root / file).resolve()
    if not path.is_relative_to(root) or path.suffix != ".py" or not path.is_file():
        return ""
    if path.stat().st_size > LONGEST:
        return ""
    lines = path.read_text(errors="replace").splitlines()
    return lines[line - 1].strip() if 1 <= line <= len(lines) else ""
