# SPDX-License-Identifier: MIT
"""A crash's trace beside the lines that ran. No board makes it read what is outside of the folders
that it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetling import device

__all__ = ["Frame", "frames", "installed_agent"]

LONGEST = 1 << 20
_VERSION = re.compile(r'^VERSION = "(.*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Frame:
    """One line of a trace; `source` is "" where it is not to be had."""

    file: str
    line: int
    function: str
    source: str


def frames(crash: Mapping[str, Any], agent: Path | None, source: Path | None) -> list[Frame]:
    """The frames of a crash record, innermost last.

    Args:
        crash: the record, as the board sent it.
        agent: the folder that holds agent/ as it ran, if there is one.
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
        folder = agent if file.startswith("agent/") else source
        found.append(Frame(file, line, function, _line(file, line, folder)))
    return found


def installed_agent(version: object) -> Path | None:
    """The folder that holds this installation's agent, where it has that version."""
    folder = device.source_folder()
    found = _VERSION.search((folder / "agent/version.py").read_text())
    return folder if found and found[1] == version else None


def _line(file: str, line: int, folder: Path | None) -> str:
    if folder is None:
        return ""
    # A board must not make us read what is outside of the folder.
    root = (folder / "agent" if file.startswith("agent/") else folder).resolve()
    try:
        path = (folder / file).resolve()
        if not path.is_relative_to(root) or path.suffix != ".py" or not path.is_file():
            return ""
        if path.stat().st_size > LONGEST:
            return ""
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except (OSError, ValueError):  # no name that a file can have, or none that may be read
        return ""
    return lines[line - 1].strip() if 1 <= line <= len(lines) else ""
