# SPDX-License-Identifier: MIT
"""A repository's folder: what is published in it, and what is staged to be.

    metadata/  targets/     published; the only folders that a web server needs
    staged/                 the next versions of metadata, signed or not yet, and their files
    yanked/                 files that were published once, kept as bases of deltas
    sources/                what applications were built from

What is published is what timestamp.json leads to; other files beside it are of the past, or of a
publication that was cut. A root is the exception: boards find it by its number.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetling import files
from fleetling.errors import FleetlingError
from fleetling.release import versions
from fleetling.release.authoring import (
    JSONSerializer,
    Metadata,
    RepositoryError,
    Root,
    SerializationError,
    Snapshot,
    Targets,
    Timestamp,
)

__all__ = ["Store", "parse", "serialize"]

TOP = ("root", "targets", "snapshot", "timestamp")
# Versions of a role that stay for boards that are in the middle of a refresh.
KEPT = 3
# The SHA-256 and the version of a target: other versions may end in the same numbers.
_NAMED = re.compile(r"[0-9a-f]{64}\.([0-9.]+)\.[a-z]+")
_NUMBERED = re.compile(r"([1-9][0-9]*)\.([a-z0-9-]+)\.json")


def serialize(message: Metadata[Any]) -> bytes:
    """The bytes of metadata as they are published: compact JSON, always the same."""
    return message.to_bytes(JSONSerializer(compact=True))


def parse(data: bytes, where: object) -> Metadata[Any]:
    """Metadata out of its bytes.

    Raises:
        FleetlingError: it is none.
    """
    try:
        return Metadata.from_bytes(data)
    except (SerializationError, RepositoryError, ValueError) as e:
        raise FleetlingError(
            f"{where} is not TUF metadata", "Bring it back from a copy of the repository."
        ) from e


class Store:
    """Reads and writes a repository's folder; decides nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata = folder / "metadata"
        self.targets = folder / "targets"
        self.staged = folder / "staged"
        self.yanked = folder / "yanked"
        self.sources = folder / "sources"
        self._locks = 0

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other processes from changing the repository meanwhile.

        Raises:
            FleetlingError: another one is at it.
        """
        if self._locks:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise FleetlingError(
                    "Another command is changing this repository", "Try again when it is done."
                ) from e
            self._locks = 1
            try:
                yield
            finally:
                self._locks = 0

    # --- published

    def root_versions(self) -> list[int]:
        """The numbers of the roots, from 1 without gaps."""
        found, number = [], 1
        while (self.metadata / f"{number}.root.json").is_file():
            found.append(number)
            number += 1
        return found

    def root(self, version: int) -> Metadata[Root]:
        return self._read(f"{version}.root.json", "root")

    def published(self, role: str) -> Metadata[Any] | None:
        """What is published of a role, or None."""
        if role == "root":
            versions = self.root_versions()
            return self.root(versions[-1]) if versions else None
        if not (self.metadata / "timestamp.json").is_file():
            return None
        timestamp: Metadata[Timestamp] = self._read("timestamp.json", "timestamp")
        if role == "timestamp":
            return timestamp
        number = timestamp.signed.snapshot_meta.version
        snapshot: Metadata[Snapshot] = self._read(f"{number}.snapshot.json", "snapshot")
        if role == "snapshot":
            return snapshot
        listed = snapshot.signed.meta.get(f"{role}.json")
        return self._read(f"{listed.version}.{role}.json", "targets") if listed else None

    def published_products(self) -> list[str]:
        snapshot: Metadata[Snapshot] | None = self.published("snapshot")
        names = [name.removesuffix(".json") for name in snapshot.signed.meta] if snapshot else []
        return sorted(set(names) - {"targets"})

    def _read(self, name: str, kind: str) -> Metadata[Any]:
        path = self.metadata / name
        if not path.is_file():
            raise FleetlingError(
                f"{path} is missing", "Bring it back from a copy of the repository."
            )
        return self._parsed(path, kind)

    @staticmethod
    def _parsed(path: Path, kind: str) -> Metadata[Any]:
        message = parse(path.read_bytes(), path)
        if message.signed.type != kind:
            raise FleetlingError(
                f"{path} is metadata of {message.signed.type}, and not of {kind}",
                "Bring it back from a copy of the repository.",
            )
        return message

    def write(self, role: str, message: Metadata[Any]) -> None:
        """Writes metadata where boards look for it."""
        number = "" if role == "timestamp" else f"{message.signed.version}."
        files.write_whole(self.metadata / f"{number}{role}.json", serialize(message))

    def place(self, path: str, digest: str) -> Path:
        """Where the file of a target is, published."""
        product, _, name = path.partition("/")
        return self.targets / product / f"{digest}.{name}"

    # --- staged

    def staged_roles(self) -> list[str]:
        """Those with a next version, in the order in which they are signed."""
        names = [path.stem for path in (self.staged / "metadata").glob("*.json")]
        return sorted(names, key=lambda name: (name not in TOP, name != "root", name))

    def staged_role(self, role: str) -> Metadata[Any] | None:
        path = self._staged_path(role)
        return self._parsed(path, role if role in TOP else "targets") if path.is_file() else None

    def stage(self, role: str, message: Metadata[Any]) -> None:
        self._private(self.staged)
        files.write_whole(self._staged_path(role), serialize(message))

    def unstage(self, role: str) -> None:
        files.remove(self._staged_path(role))

    def stage_file(self, path: str, data: bytes) -> None:
        self._private(self.staged)
        files.write_whole(self.staged / "targets" / path, data)

    def content(self, path: str, digest: str) -> bytes | None:
        """The bytes of a target, staged, published or yanked; None where they are not here."""
        product, _, name = path.partition("/")
        for place in (
            self.staged / "targets" / path,
            self.place(path, digest),
            self.yanked / product / f"{digest}.{name}",
        ):
            data = place.read_bytes() if place.is_file() else b""
            if hashlib.sha256(data).hexdigest() == digest:
                return data
        return None

    def write_target(self, path: str, digest: str, data: bytes) -> None:
        files.write_whole(self.place(path, digest), data)

    def was_yanked(self, product: str, version: str, of: str) -> bool:
        """Whether a release was published once and taken back; 1.0 and 1.0.0 are one version."""
        ending = "app" if of == "app" else "fw"
        gone = self._all(self.yanked / product)
        # A publication that was cut before it tidied has left them where they were.
        there = self._all(self.targets / product) - self._published_files()
        gone |= {file for file in there if self._was_published(file)}
        for file in gone:
            found = _NAMED.fullmatch(file.name) if file.suffix == f".{ending}" else None
            if found and versions.order(found[1]) == versions.order(version):
                return True
        return False

    def _staged_path(self, role: str) -> Path:
        return self.staged / "metadata" / f"{role}.json"

    def source_folder(self, product: str, version: str) -> Path:
        """Where the sources of an application's release are kept."""
        self._private(self.sources)
        return self.sources / product / version

    @staticmethod
    def _private(folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)

    # --- tidying

    def tidy(self) -> None:
        """Takes away what neither the published nor the staged metadata names."""
        for folder in (self.metadata, self.targets, self.staged):
            for file in folder.rglob(files.UNFINISHED + "*"):
                files.remove(file)
        staged: set[Path] = set()
        for role in self.staged_roles():
            one = self.staged_role(role)
            if one is not None and role not in TOP:
                staged |= {self.staged / "targets" / path for path in one.signed.targets}
        for file in self._all(self.targets) - self._published_files():
            if self._was_published(file):
                files.move(file, self.yanked / file.relative_to(self.targets))
            else:  # a publication brought it that was cut, and given up
                files.remove(file)
        for file in self._all(self.staged / "targets") - staged:
            files.remove(file)
        self._prune()

    def _published_files(self) -> set[Path]:
        found: set[Path] = set()
        for product in self.published_products():
            message: Metadata[Targets] | None = self.published(product)
            assert message is not None
            for path, target in message.signed.targets.items():
                found.add(self.place(path, target.hashes["sha256"]))
        return found

    def _was_published(self, file: Path) -> bool:
        """Whether boards could have seen a file of targets/: a version of its product that came
        before the published one names it. All since the last tidying are still there."""
        product = file.parent.name
        message = self.published(product)
        last = message.signed.version if message else 0
        digest = file.name.partition(".")[0].encode()
        for path in self.metadata.glob(f"*.{product}.json"):
            found = _NUMBERED.fullmatch(path.name)
            # Read as text: also one that is damaged elsewhere says that it was.
            if found and int(found[1]) <= last and digest in path.read_bytes():
                return True
        return False

    def _prune(self) -> None:
        versions: dict[str, list[int]] = {}
        for path in self._all(self.metadata):
            found = _NUMBERED.fullmatch(path.name)
            if found and found[2] != "root":
                versions.setdefault(found[2], []).append(int(found[1]))
        for role, numbers in versions.items():
            message = self.published(role)
            if message is None:
                continue
            last = message.signed.version
            for number in numbers:
                if not last - KEPT < number <= last:
                    files.remove(self.metadata / f"{number}.{role}.json")

    @staticmethod
    def _all(folder: Path) -> set[Path]:
        return {path for path in folder.rglob("*") if path.is_file()}
