# SPDX-License-Identifier: MIT
"""What the fleet's repository offers, by its metadata on this machine.

It is read, not verified: boards verify it themselves, and `fleetling release verify` does here.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleetling.errors import FleetlingError
from fleetling.home import SETTINGS, Home

__all__ = ["Catalogue", "Release", "anchor", "version_key"]

LONGEST_URL = 128  # of the board's NVS (agent/storage/nvsmap.py)
SUFFIXES = {".app": "app", ".fw": "firmware"}
SHOWN = 8


@dataclass(frozen=True)
class Release:
    """A target that can be assigned."""

    path: str
    kind: str
    version: str
    custom: dict[str, Any]

    @property
    def name(self) -> str:
        """As people say it: pump/1.2.0."""
        return f"{self.path.partition('/')[0]}/{self.version}"


def anchor(home: Home) -> tuple[str, bytes]:
    """What boards are flashed with: the repository's URL, and of its newest root the version (32
    bits, little-endian) and SHA-256. Both are empty where the fleet has no repository.

    Raises:
        FleetlingError: there is an address and no repository, or boards could not dial it.
    """
    url = home.settings.get("repo", "")
    if url == "":
        return "", b""
    _check_url(home, url)
    metadata = home.repository / "metadata"
    roots = {
        int(found[1]): path
        for path in metadata.glob("*.root.json")
        if (found := re.fullmatch(r"(\d{1,9})\.root\.json", path.name))
    }
    if not roots:
        raise FleetlingError(
            f"{SETTINGS} names a repository, but there is no N.root.json in {metadata}",
            "Make the repository first (fleetling release init), or take the line `repo` out.",
        )
    version = max(roots)
    return url, struct.pack("<I32s", version, hashlib.sha256(_bytes(roots[version])).digest())


def _check_url(home: Home, url: object) -> None:
    hint = 'Give it as boards dial it, for example repo = "https://updates.example/".'
    where = f"{home.folder / SETTINGS}: repo"
    if not isinstance(url, str) or not url.isascii() or any(c <= " " for c in url):
        raise FleetlingError(f"{where} is no address", hint)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as e:
        raise FleetlingError(f"{where} is no address: {e}", hint) from e
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise FleetlingError(f"{where} is no address of http or https", hint)
    if parts.username is not None or parts.password is not None:
        raise FleetlingError(f"{where} has a user in it", "Boards log in nowhere; " + hint)
    if not url.endswith("/"):
        raise FleetlingError(f'{where} does not end with "/"', hint)
    if len(url) > LONGEST_URL:
        raise FleetlingError(
            f"{where} has {len(url)} characters", f"At most {LONGEST_URL} fit into a board."
        )


class Catalogue:
    """The releases that the newest metadata lists.

    Args:
        folder: the repository's.

    Attributes:
        releases: {path: Release}.
        lapsed: [(role, when)] of metadata that has run out, which boards refuse.

    Raises:
        FleetlingError: there is no repository, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._metadata = folder / "metadata"
        self.releases: dict[str, Release] = {}
        self.lapsed: list[tuple[str, datetime]] = []
        if not (self._metadata / "timestamp.json").is_file():
            raise FleetlingError(
                f"Nothing is published in {folder}",
                "Build a release, sign it, and publish it: fleetling release --help.",
            )
        try:
            self._read()
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise FleetlingError(
                f"The metadata in {self._metadata} makes no sense: {type(e).__name__} {e}",
                "Look what is wrong with `fleetling release verify`.",
            ) from e

    def _read(self) -> None:
        timestamp = self._role("timestamp", "timestamp.json")
        number = timestamp["meta"]["snapshot.json"]["version"]
        snapshot = self._role("snapshot", f"{int(number)}.snapshot.json")
        for name, listed in sorted(snapshot["meta"].items()):
            role = name.removesuffix(".json")
            for path, target in self._role(role, f"{int(listed['version'])}.{name}")[
                "targets"
            ].items():
                kind = SUFFIXES.get(Path(path).suffix)
                custom = target.get("custom")
                if kind is not None and isinstance(custom, dict):
                    self.releases[path] = Release(path, kind, str(custom["version"]), custom)

    def _role(self, role: str, name: str) -> dict[str, Any]:
        if "/" in name:
            raise ValueError(f"a role is called {role!r}")
        signed: dict[str, Any] = json.loads(_bytes(self._metadata / name))["signed"]
        expires = datetime.fromisoformat(signed["expires"])
        if expires <= datetime.now(UTC):
            self.lapsed.append((role, expires))
        return signed

    def find(self, names: Iterable[str]) -> list[Release]:
        """The releases that are meant: "pump/1.2.0", or whole paths. One, or one of each kind.

        Raises:
            FleetlingError: one of them is not there; what is there.
        """
        found = [self._find(name) for name in dict.fromkeys(names)]
        if len({release.kind for release in found}) != len(found):
            raise FleetlingError(
                f"{' and '.join(r.path for r in found)} are of one kind",
                "Give one target, or an application and a firmware that move together.",
            )
        return found

    def _find(self, name: str) -> Release:
        if name in self.releases:
            return self.releases[name]
        if name.endswith(".delta"):
            raise FleetlingError(
                f"{name} is a delta",
                "Assign the release; each board takes a delta by itself where there is one.",
            )
        matching = [self.releases[name + s] for s in SUFFIXES if name + s in self.releases]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise FleetlingError(
                f"{name} is both an application and a firmware",
                f"Say which: {' or '.join(release.path for release in matching)}.",
            )
        raise FleetlingError(f"There is no release {name}", self._others(name))

    def _others(self, name: str) -> str:
        product = name.partition("/")[0]
        of_it = [r for r in self.releases.values() if r.path.startswith(product + "/")]
        if of_it:
            newest = sorted(of_it, key=lambda r: version_key(r.version), reverse=True)
            paths = ", ".join(release.path for release in newest[:SHOWN])
            more = f" and {len(newest) - SHOWN} older" if len(newest) > SHOWN else ""
            return f"Of {product} there is: {paths}{more}."
        products = sorted({path.partition("/")[0] for path in self.releases})
        if products:
            return f"There are releases of: {', '.join(products[:SHOWN])}."
        return "The repository has no release yet: fleetling release --help."


def version_key(text: str) -> tuple[int, ...]:
    """For comparing versions; "1.25.0-preview" counts as 1.25.0, what is none as 0."""
    # A board's may have thousands of digits, which int() refuses.
    numbers = re.match(r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,3})", text)
    parts = [int(part) for part in numbers[1].split(".")] if numbers else []
    return tuple(parts + [0] * (4 - len(parts)))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise FleetlingError(
            f"{path} cannot be read: {e.strerror}",
            "Is the repository whole? fleetling release verify",
        ) from e
