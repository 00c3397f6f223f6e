# SPDX-License-Identifier: MIT
"""Builds releases into a repository's stage, and says what they cost."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleetling import device, files
from fleetling.errors import FleetlingError
from fleetling.image.flash import read_layout
from fleetling.release import versions
from fleetling.release.application import build_slot
from fleetling.release.bundle import FILES, LONGEST_MANIFEST
from fleetling.release.firmware import read_firmware
from fleetling.release.packing import Packed, pack_firmware
from fleetling.release.repository import Repository
from fleetling.release.words import MINIMA, read_path

__all__ = [
    "AppReport",
    "FirmwareReport",
    "build_app",
    "build_firmware",
    "built_now",
    "read_requires",
    "slot_size",
]

LAST = 3  # earlier releases that deltas are made against, unless others are chosen


@dataclass(frozen=True)
class FirmwareReport:
    """A firmware's release in bytes; `deltas` by the version of their base."""

    path: str
    image: int
    slot: int
    chip: str
    micropython: str
    packed: int
    machine: str = ""
    deltas: dict[str, Packed] = field(default_factory=dict)


@dataclass(frozen=True)
class AppReport:
    """An application's release in bytes, and what a board holds at most of it."""

    path: str
    files: int
    image: int
    manifest: int
    packed: int
    space: int
    native: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    most_files = FILES
    most_manifest = LONGEST_MANIFEST


def built_now(given: int | None = None) -> int:
    """When a release counts as built: as given, else SOURCE_DATE_EPOCH, else now."""
    if given is not None:
        return given
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return int(time.time())
    if not text.isdecimal():
        raise FleetlingError(
            f"SOURCE_DATE_EPOCH is {text!r}", "Set it to seconds since 1970, or unset it."
        )
    return int(text)


def read_requires(texts: Iterable[str]) -> dict[str, str]:
    """{name: least version} of "name=version" each.

    Raises:
        FleetlingError: one is not that.
    """
    found = {}
    for text in texts:
        name, equals, version = text.partition("=")
        if name not in MINIMA or not equals:
            raise FleetlingError(
                f"{text!r} is no requirement",
                "Give NAME=VERSION, such as micropython=1.24; NAME is one of "
                + ", ".join(MINIMA)
                + ".",
            )
        found[name] = versions.check_version(version)
    return found


def slot_size(layout: str) -> int:
    """Bytes of the smallest slot for firmware in a layout of firmware/.

    Raises:
        FleetlingError: there is no such layout.
    """
    return read_layout(layout).slot


def build_firmware(
    repository: Repository,
    path: Path,
    product: str,
    version: str,
    *,
    slot: int,
    security: int = 0,
    boards: Collection[str] = (),
    machines: Collection[str] = (),
    requires: Mapping[str, str] | None = None,
    bases: Collection[str] | None = None,
    built: int | None = None,
) -> FirmwareReport:
    """Stages the firmware in a file, whole and as deltas.

    Args:
        path: an app image, or MicroPython's download.
        slot: bytes of the boards' slots.
        boards: names of builds (`sys.implementation._build`) that may take it; none is all.
        machines: names of machines (`os.uname().machine`) that may take it where the firmware is
            older than 1.25 and does not tell its build; they go with `boards`.
        bases: earlier versions that deltas are made against; None is the last three.

    Raises:
        FleetlingError: no board could take it.
    """
    versions.check_product(product)
    versions.check_version(version)
    if machines and not boards:
        raise FleetlingError(
            "A machine is named, and no build", "Name the builds, too: --board ESP32_GENERIC-OTA"
        )
    firmware = read_firmware(_read(path))
    firmware.check_fits(slot)
    chosen = _bases(repository, product, version, firmware.chip, bases)
    chosen = {name: image for name, image in chosen.items() if image != firmware.image}
    packed = pack_firmware(firmware.image, chosen.values())
    made = repository.add_firmware(
        product,
        version,
        firmware.image,
        packed=packed,
        built=built_now(built),
        chip=firmware.chip,
        security=security,
        boards=tuple(sorted(boards)),
        machines=tuple(sorted(machines)),
        requires=requires,
    )
    return FirmwareReport(
        made,
        len(firmware.image),
        slot,
        firmware.chip,
        firmware.micropython,
        packed[0].length,
        firmware.machine,
        dict(zip(chosen, packed[1:], strict=True)),
    )


def _bases(
    repository: Repository,
    product: str,
    version: str,
    chip: str,
    wanted: Collection[str] | None,
) -> dict[str, bytes]:
    """{version: image} of the releases that deltas are made against, the newest first."""
    there = {
        read_path(path).version: target.custom
        for path, target in repository.releases(product).items()
        if path.endswith(".fw") and target.custom["chip"] == chip
    }
    before = [each for each in there if versions.order(each) < versions.order(version)]
    before.sort(key=versions.order, reverse=True)
    for each in wanted or ():
        if each not in before:
            raise FleetlingError(
                f"{product} has no earlier firmware {each} for {chip}",
                f"Those that there are: {', '.join(before) or 'none'}.",
            )
    found = {}
    for each in before[:LAST] if wanted is None else wanted:
        image = repository.image(there[each]["sha256"])
        if image is None:
            raise FleetlingError(
                f"The file of {product} {each} is missing", "Leave it out: choose with --base."
            )
        found[each] = image
    return found


def build_app(
    repository: Repository,
    folder: Path,
    product: str,
    version: str,
    *,
    security: int = 0,
    requires: Mapping[str, str] | None = None,
    provides: Collection[str] = (),
    layout: str = "4mb",
    built: int | None = None,
) -> AppReport:
    """Stages the application in a folder, and keeps its sources for traces of crashes: its own,
    the agent's, and the manifest, by which a crash names the build.

    Args:
        provides: modules of the boards' firmware beside those of MicroPython's own builds.

    Raises:
        FleetlingError: what would fail on the board.
    """
    versions.check_product(product)
    versions.check_version(version)
    application = build_slot(folder, version, security=security, provides=provides)
    path = repository.add_app(
        product, application.files, built=built_now(built), requires=requires
    )
    kept = {
        **application.sources,
        **device.agent_files(),
        device.MANIFEST: application.files[device.MANIFEST],
    }
    _keep_sources(repository, product, version, kept)
    target = repository.releases(product)[path]
    return AppReport(
        path,
        target.custom["files"],
        len(device.pack(application.files)),
        target.custom["size"],
        target.length,
        int(read_layout(layout).table["vfs"].size),
        application.native,
        application.left_out,
    )


def _keep_sources(
    repository: Repository, product: str, version: str, sources: Mapping[str, bytes]
) -> None:
    folder = repository.store.source_folder(product, version)
    for old in [each for each in folder.rglob("*") if each.is_file()]:
        if old.relative_to(folder).as_posix() not in sources:
            files.remove(old)
    for name, data in sources.items():
        files.write_whole(folder / name, data)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise FleetlingError(f"{path} cannot be read: {e.strerror}", "Check its path.") from e
