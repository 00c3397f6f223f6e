# SPDX-License-Identifier: MIT
"""Makes a slot of an application's folder, and refuses what would fail on the board."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetling import device
from fleetling.application import read_application
from fleetling.config.schema import agent_schema
from fleetling.errors import FleetlingError
from fleetling.release.bundle import FILES
from fleetling.release.imports import missing_imports
from fleetling.release.words import mpy_version

__all__ = ["Application", "build_slot"]

# What an application cannot have: boards keep their own there.
_TAKEN = ("agent", *device.BOARD_FILES, device.MANIFEST)
_LONGEST_SETTINGS = 8192


@dataclass(frozen=True)
class Application:
    """An application, built.

    Attributes:
        files: the slot's, by path.
        sources: what it was built from, by path.
        left_out: paths of its folder that do not travel.
        native: modules that travel as source, because the board compiles their machine code.
    """

    files: dict[str, bytes]
    sources: dict[str, bytes]
    left_out: list[str]
    native: list[str]


def build_slot(
    folder: Path, version: str, *, security: int = 0, provides: Collection[str] = ()
) -> Application:
    """The slot of the application in `folder`: compiled, with the agent and the manifest.

    Args:
        provides: modules of the boards' firmware beside those of MicroPython's own builds.

    Raises:
        FleetlingError: what would fail on the board; the message has all of it.
    """
    sources, left_out = read_application(folder)
    room = FILES - len(device.agent_files())
    if len(sources) > room:
        raise FleetlingError(
            f"The application has {len(sources)} files; a board takes {room} beside the agent's",
            "Put several modules into one file, or leave out what the board does not need.",
        )
    faults = [*_names(sources), *_settings(sources), *_modules(sources, provides)]
    if faults:
        raise FleetlingError("\n".join(faults), "Nothing was built.")
    files = device.slot_files(version, sources, security=security)
    device.pack(files)
    native = [path for path in sources if path.endswith(".py") and path in files]
    return Application(files, sources, left_out, native)


def _names(sources: Mapping[str, bytes]) -> list[str]:
    found = [
        f"{path} stands where the board has its own"
        for path in sources
        if path.split("/")[0] in _TAKEN or path.startswith("agent.")
    ]
    for path in sources:
        if not device.PATH.fullmatch(path):
            found.append(
                f"{path!r} is no name for a board: use at most 64 letters, digits, '.', '_', '-'"
            )
        if path.endswith(".mpy") and path[:-3] + "py" in sources:
            found.append(f"{path} and {path[:-3]}py are the same module")
    return found


def _settings(sources: Mapping[str, bytes]) -> list[str]:
    """What the board's own schema refuses of settings.json."""
    data = sources.get("settings.json")
    if data is None:
        return []
    if len(data) > _LONGEST_SETTINGS:
        return [f"settings.json has {len(data):,} bytes; {_LONGEST_SETTINGS:,} are enough"]
    try:
        words: Any = json.loads(data)
    except ValueError as e:
        return [f"settings.json is not JSON: {e}"]
    _, refused = agent_schema().table(words)
    if refused == ["settings"]:
        return ["settings.json is not an object of settings"]
    return [
        f"settings.json: boards refuse the setting {name!r} (docs/settings.md)" for name in refused
    ]


def _modules(sources: Mapping[str, bytes], provides: Collection[str]) -> list[str]:
    found = []
    texts = {}
    for path, data in sources.items():
        if path.endswith(".mpy"):
            try:
                mpy_version(path, data)
            except FleetlingError as e:
                found.append(f"{e.message}. {e.hint}")
        elif path.endswith(".py"):
            try:
                ast.parse(data, path)
            except (SyntaxError, ValueError) as e:
                line = e.lineno if isinstance(e, SyntaxError) else 1
                found.append(f"{path}:{line}: {getattr(e, 'msg', e)}")
                continue
            texts[path] = data
            if any(mark in data for mark in device.NATIVE):
                found += _native(path, data)
    for each in missing_imports(texts, {*sources, *device.agent_files()}, provides):
        found.append(
            f"{each.file}:{each.line}: {each.name} is neither in the application nor in stock "
            "firmware"
        )
    return found


def _native(path: str, data: bytes) -> list[str]:
    """The board compiles it; what it would stumble over, it had better do here."""
    try:
        device.compile_module(path, data, "-march=xtensawin")
    except FleetlingError as e:
        return [f"{path}: {e.hint}"]
    return []
