# SPDX-License-Identifier: MIT
"""What is signed about a target beside its hash: its `custom`, as boards read it.

agent/update/offer.py and agent/update/catalogue.py read it there; docs/releases.md has the table.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.release import payload
from fleetling.release.bundle import FILES, LONGEST_MANIFEST, unpack_app
from fleetling.release.versions import check_product, check_version

__all__ = [
    "MINIMA",
    "Target",
    "app_words",
    "check_content",
    "check_words",
    "firmware_words",
    "mpy_version",
    "read_path",
]

MINIMA = ("micropython", "agent", "app", "firmware")
_PATH = re.compile(
    r"(?P<product>[^/]+)/(?P<version>[0-9.]+)(\.(?P<base>[0-9a-f]{16}))?"
    r"\.(?P<kind>app|fw|delta)"
)
_HEX = re.compile(r"[0-9a-f]{64}")
_BUILD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MACHINE = re.compile(r"[ -~]{1,128}")
_LARGEST = 0x7FFFFFFF


@dataclass(frozen=True)
class Target:
    """What a target's path says: `<product>/<version>.app`, `.fw` or `.<base16>.delta`."""

    path: str
    product: str
    version: str
    kind: str
    base: str = ""

    @property
    def of(self) -> str:
        """ "app" or "firmware"."""
        return "app" if self.kind == "app" else "firmware"


def read_path(path: str) -> Target:
    """Takes a target's path apart.

    Raises:
        FleetlingError: it is not one.
    """
    found = _PATH.fullmatch(path)
    if not found or (found["kind"] == "delta") != bool(found["base"]):
        raise FleetlingError(f"{path!r} is no target's path", "It is PRODUCT/VERSION.app or .fw.")
    product = check_product(found["product"])
    version = check_version(found["version"])
    return Target(path, product, version, found["kind"], found["base"] or "")


def app_words(
    files: Mapping[str, bytes], *, built: int, requires: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The words of a bundle of these files of a slot; version and security are its manifest's."""
    made = files["manifest.json"]
    manifest = json.loads(made)
    words = _words("app", manifest["version"], manifest["security"], made, built, requires)
    modules = {path: data for path, data in files.items() if path.endswith(".mpy")}
    formats = {mpy_version(path, data) for path, data in modules.items()}
    if len(formats) > 1:
        raise FleetlingError(
            f"The modules are of several .mpy versions: {sorted(formats)}",
            "Give sources, or compile all with one mpy-cross.",
        )
    if formats:
        words["mpy"] = formats.pop()
    words["bytes"] = sum(size for _, size, _ in manifest["files"])
    words["files"] = len(manifest["files"])
    return words


def firmware_words(
    image: bytes,
    version: str,
    *,
    chip: str,
    built: int,
    security: int = 0,
    boards: tuple[str, ...] = (),
    machines: tuple[str, ...] = (),
    requires: Mapping[str, str] | None = None,
    base: bytes | None = None,
) -> dict[str, Any]:
    """The words of an app image; with `base`, those of the delta from that image."""
    words = _words("firmware", version, security, image, built, requires)
    words |= {"chip": chip, "boards": list(boards)}
    if machines:
        words["machines"] = list(machines)
    if base is not None:
        words["base"] = hashlib.sha256(base).hexdigest()
    return words


def _words(
    kind: str,
    version: str,
    security: int,
    data: bytes,
    built: int,
    requires: Mapping[str, str] | None,
) -> dict[str, Any]:
    words: dict[str, Any] = {
        "kind": kind,
        "version": check_version(version),
        "security": security,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "built": built,
    }
    if requires:
        words["requires"] = dict(sorted(requires.items()))
    return words


def mpy_version(path: str, data: bytes) -> int:
    """The version of a .mpy, which must have bytecode alone.

    Raises:
        FleetlingError: it is not a .mpy, or has machine code of one chip.
    """
    if len(data) < 4 or data[:1] != b"M":
        raise FleetlingError(f"{path} is not a .mpy", "Give the source instead.")
    if data[2] >> 2:
        raise FleetlingError(
            f"{path} has machine code of one chip",
            "Give the source: boards compile modules with viper or native functions themselves.",
        )
    return data[1]


def check_words(path: str, words: object) -> None:
    """Refuses words that a board would not take.

    Raises:
        FleetlingError: which, and what is wrong.
    """
    target = read_path(path)
    if not isinstance(words, dict):
        raise FleetlingError(f"{path} says nothing of itself.")
    for wrong, what in _faults(target, words):
        if wrong:
            raise FleetlingError(f"{path}: {what} is not what boards take.", "Build it again.")
    for name, least in words.get("requires", {}).items():
        if name not in MINIMA or not isinstance(least, str):
            raise FleetlingError(
                f"{path} requires {name!r}", "It can be one of " + ", ".join(MINIMA) + "."
            )
        check_version(least)


def _faults(target: Target, words: Mapping[str, Any]) -> list[tuple[bool, str]]:
    def number(name: str, least: int, most: int) -> tuple[bool, str]:
        value = words.get(name)
        return type(value) is not int or not least <= value <= most, name

    def text(name: str, pattern: re.Pattern[str]) -> tuple[bool, str]:
        value = words.get(name)
        return not isinstance(value, str) or not pattern.fullmatch(value), name

    found = [
        (words.get("kind") != target.of, "kind"),
        (words.get("version") != target.version, "version"),
        number("security", 0, _LARGEST),
        number("built", 0, 0xFFFFFFFF),
        text("sha256", _HEX),
        (not isinstance(words.get("requires", {}), dict), "requires"),
        (("base" in words) != (target.kind == "delta"), "base"),
    ]
    if target.kind == "app":
        found += [number("size", 1, LONGEST_MANIFEST), number("files", 1, FILES)]
        found += [number("bytes", 0, _LARGEST)]
        found += [number("mpy", 0, 255)] if "mpy" in words else []
        return found
    found += [number("size", 1, payload.IMAGE_MOST)]
    found += [(not _names(words.get("boards"), _BUILD), "boards")]
    found += [(not _names(words.get("machines", []), _MACHINE), "machines")]
    found += [text("chip", re.compile(r"[a-z0-9]{1,16}"))]
    if target.kind == "delta":
        found += [text("base", _HEX)]
        found += [(str(words.get("base"))[:16] != target.base, "base")]
    return found


def _names(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, list) and all(
        isinstance(name, str) and pattern.fullmatch(name) for name in value
    )


def check_content(
    path: str,
    words: Mapping[str, Any],
    data: bytes,
    base_of: Callable[[str], bytes | None] = lambda digest: None,
) -> None:
    """Refuses a file that is not what its words say.

    Args:
        base_of: the image with this SHA-256, or None; a delta whose base is not to be had is
            held against its header alone.

    Raises:
        FleetlingError: what differs.
    """
    if words["kind"] == "app":
        files = unpack_app(data)
        found = app_words(files, built=words["built"], requires=words.get("requires"))
        for name in sorted(set(found) | set(words)):
            if found.get(name) != words.get(name):
                raise FleetlingError(f"{path}: {name} differs from its bundle's.")
        return
    header = payload.read_header(data)
    base = words.get("base", "")
    if (header.size, header.sha256.hex()) != (words["size"], words["sha256"]):
        raise FleetlingError(f"{path}: its payload is of another image than it says.")
    if (header.base_sha256.hex() if header.base_size else "") != base:
        raise FleetlingError(f"{path}: its payload is against another base than it says.")
    image = base_of(base) if base else None
    if image is not None or not base:
        payload.unpack(data, image)
