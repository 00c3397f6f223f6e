# SPDX-License-Identifier: MIT
"""Which boards would refuse a release, by what they said of themselves. No I/O.

The board decides; this names those whose answer is known, before anything is published. What a
board never said counts as fitting.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fleetling.config.schema import plain
from fleetling.fleet.state import Device
from fleetling.update.repository import Release, version_key

__all__ = ["why_not"]

# A board that knows this command takes updates.
COMMAND = "previous"


def why_not(device: Device, releases: Iterable[Release]) -> str:
    """Why the device cannot take all of these, or ""."""
    birth = device.birth
    commands = birth.get("commands")
    if isinstance(commands, list) and COMMAND not in commands:
        return f"its agent {_said(birth, 'agent')} takes no updates"
    for release in releases:
        wrong = _firmware(birth, release) if release.kind == "firmware" else ""
        wrong = wrong or _older(birth, release)
        if wrong:
            return wrong
    return ""


def _firmware(birth: dict[str, Any], release: Release) -> str:
    chip = _said(birth, "board").rpartition(" ")[2].lower().replace("-", "")
    wanted = str(release.custom.get("chip", ""))
    if chip and wanted and chip != wanted:
        return f"{release.path} is for {wanted}, and this is an {chip}"
    builds, build = release.custom.get("boards"), _said(birth, "build")
    if isinstance(builds, list) and builds and build and build not in builds:
        return f"{release.path} is for {', '.join(map(str, builds))}, and this is {build}"
    machines, machine = release.custom.get("machines"), _said(birth, "board")
    known = isinstance(machines, list) and machine in machines
    if builds and birth.get("build") == "" and machine and not known:
        return f"{release.path} names builds, and this tells none: it is a {machine!r}"
    return ""


def _older(birth: dict[str, Any], release: Release) -> str:
    runs = _said(birth, "app" if release.kind == "app" else "release")
    if runs and version_key(release.version) < version_key(runs):
        return f"it runs {release.kind} {runs}, which is newer"
    return ""


def _said(birth: dict[str, Any], name: str) -> str:
    value = birth.get(name)
    return plain(value) if isinstance(value, str) else ""
