# SPDX-License-Identifier: MIT
"""The sources of the release that ran when a board crashed, out of the releases' repository.

A crash record says the version of the application and the CRC-32 of its slot's manifest, which has
the hash of every file. `fleetling release build` keeps a release's manifest beside its sources, so
that no other build is taken for it, whatever it is called.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetling import device

__all__ = ["Released", "find"]


@dataclass(frozen=True)
class Released:
    """Where the sources are, or why they are not to be had.

    Attributes:
        folder: the sources of application and agent; None where there are none.
        name: of the release, "pump 1.0.0"; "" without one.
        missing: what is in the way, and what to do, for people; "" with a folder.
    """

    folder: Path | None = None
    name: str = ""
    missing: str = ""


def find(crash: Mapping[str, Any], sources: Path) -> Released:
    """The release that a crash record speaks of.

    Args:
        crash: the record, as the board sent it.
        sources: the folder sources/ of the repository.
    """
    said = crash.get("app")
    if not (isinstance(said, list) and len(said) == 2 and all(isinstance(w, str) for w in said)):
        return Released(
            missing="The record does not say which release ran. Name the folder of its sources: "
            "--source FOLDER"
        )
    version, build = said
    if not version:
        return Released(missing="No application was installed when it crashed.")
    # Compared, never joined to a path: a board must not choose what is read.
    kept = [path for path in sorted(sources.glob("*/*")) if path.name == version]
    for folder in kept:
        if build and _build(folder) == build:
            return Released(folder, f"{folder.parent.name} {version}")
    if not kept:
        return Released(
            missing=f"The sources of {version} are not in {sources}. Bring them there from where "
            "it was built, or name a folder: --source FOLDER"
        )
    names = ", ".join(folder.parent.name for folder in kept)
    return Released(
        missing=f"What ran is another build than {version} of {names} in {sources}. Name the "
        "folder of its sources: --source FOLDER"
    )


def _build(folder: Path) -> str:
    try:
        return f"{zlib.crc32((folder / device.MANIFEST).read_bytes()):08x}"
    except OSError:
        return ""  # kept by an earlier `release build`
