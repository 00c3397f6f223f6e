# SPDX-License-Identifier: MIT
"""Verifies a repository as a client would that knows its first root alone, and more closely.

python-tuf's client walks roots, timestamp, snapshot and roles, with the limits of a board; every
target is read, and held against its words; every other file has to belong here and be signed.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fleetling.errors import FleetlingError
from fleetling.release.authoring import (
    DownloadError,
    DownloadHTTPError,
    FetcherInterface,
    Metadata,
    RepositoryError,
    TargetFile,
    Updater,
    UpdaterConfig,
)
from fleetling.release.limits import board_limits, check_keys, check_length
from fleetling.release.repository import Repository
from fleetling.release.store import TOP, parse, serialize
from fleetling.release.words import check_content, check_words

__all__ = ["Checked", "updater", "verify"]

_METADATA = re.compile(r"(?:([1-9][0-9]*)\.)?([a-z0-9-]+)\.json")
_SIGNATURE = re.compile(r"[0-9a-f]+")
SITE = "http://localhost/"


class _Folder(FetcherInterface):
    """Fetches from the repository's folder what a web server would serve of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._folder / unquote(urlsplit(url).path).lstrip("/")
        if not path.is_file():
            raise DownloadHTTPError("not found", 404)
        yield path.read_bytes()


def updater(folder: Path, cache: Path, anchor: bytes, now: float) -> Updater:
    """python-tuf's client with the limits of a board, at a given time.

    Args:
        folder: the repository's.
        cache: a folder of the client's own.
        anchor: the root that it starts from.
    """
    limits = board_limits()
    config = UpdaterConfig(
        max_root_rotations=limits["rotations"],
        max_delegations=limits["visits"],
        root_max_length=limits["root"],
        timestamp_max_length=limits["timestamp"],
        snapshot_max_length=limits["snapshot"],
        targets_max_length=limits["targets"],
    )
    made = Updater(
        metadata_dir=str(cache),
        metadata_base_url=SITE + "metadata/",
        target_base_url=SITE + "targets/",
        fetcher=_Folder(folder),
        config=config,
        bootstrap=anchor,
    )
    made._trusted_set.reference_time = datetime.fromtimestamp(int(now), UTC)
    return made


@dataclass
class Checked:
    """What was looked at, and what is wrong: sentences that begin with the file's name."""

    metadata: int = 0
    targets: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)


def verify(repository: Repository) -> Checked:
    """Verifies what is published.

    Raises:
        FleetlingError: nothing is.
    """
    store = repository.store
    if not any(store.metadata.glob("*.json")):
        raise FleetlingError("Nothing was published yet", "Run `fleetling release publish` first.")
    return _Verification(repository).run()


class _Verification:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._store = repository.store
        self._checked = Checked()
        self._messages: dict[str, Metadata[Any]] = {}

    def run(self) -> Checked:
        self._read_metadata()
        for name, message in self._messages.items():
            self._trying(name, self._check_metadata, name, message)
        self._walk()
        return self._checked

    def _problem(self, where: str, what: object) -> None:
        self._checked.problems.append(f"{where}: {what}")

    def _trying(self, where: str, check: Any, *arguments: Any) -> None:
        try:
            check(*arguments)
        except FleetlingError as e:
            self._problem(where, e.message)
        except (RepositoryError, DownloadError, ValueError) as e:
            self._problem(where, e)

    def _read_metadata(self) -> None:
        for path in sorted(self._store.metadata.rglob("*")):
            name = path.relative_to(self._store.metadata).as_posix()
            if path.is_file():
                self._trying(name, self._read_one, path, name)

    def _read_one(self, path: Path, name: str) -> None:
        found = _METADATA.fullmatch(name)
        data = path.read_bytes()
        self._checked.metadata += 1
        if not found or (found[1] is None) != (found[2] == "timestamp"):
            raise FleetlingError("it does not belong here")
        message = parse(data, name)
        if serialize(message) != data:
            raise FleetlingError("it is not as it was published")
        check_length(found[2], len(data))
        if found[1] and message.signed.version != int(found[1]):
            raise FleetlingError("it is of another version")
        self._messages[name] = message

    def _check_metadata(self, name: str, message: Metadata[Any]) -> None:
        """Some root, or some version of targets, must vouch for every file."""
        found = _METADATA.fullmatch(name)
        assert found is not None
        role = found[2]
        for signature in message.signatures.values():
            if not _SIGNATURE.fullmatch(signature.signature):
                raise FleetlingError("a signature is not as it was published")
        parents = [
            each.signed
            for other, each in self._messages.items()
            if other.endswith(".root.json" if role in TOP else ".targets.json")
        ]
        if role == "root":
            before = self._messages.get(f"{message.signed.version - 1}.root.json")
            if message.signed.version > 1 and before is None:
                raise FleetlingError("the root before it is missing")
            for parent in [message] + ([before] if before else []):
                parent.signed.verify_delegate(role, message.signed_bytes, message.signatures)
            for top in TOP:
                keys = message.signed.roles[top]
                check_keys(top, len(keys.keyids), keys.threshold)
            return
        for parent in parents:
            try:
                parent.verify_delegate(role, message.signed_bytes, message.signatures)
            except (RepositoryError, ValueError):
                continue
            return
        raise FleetlingError("nobody who may has signed it")

    def _walk(self) -> None:
        """As a client: everything that can be reached, and no other file."""
        folder = self._store.folder
        known: set[Path] = set()
        with tempfile.TemporaryDirectory() as cache:
            try:
                anchor = serialize(self._store.root(1))
                client = updater(folder, Path(cache), anchor, self._repository.clock())
                client.refresh()
                products = self._store.published_products()
                delegated = self._repository.published_delegations()
                for name in sorted(set(products) ^ set(delegated)):
                    self._problem(name, "the snapshot and the delegations differ in it")
            except FleetlingError as e:
                self._problem("metadata", e.message)
                return
            except (RepositoryError, DownloadError, ValueError) as e:
                self._problem("metadata", f"a client stops: {e}")
                return
            for product in products:
                self._trying(product, self._check_product, client, product, known)
        for path in sorted(self._store.targets.rglob("*")):
            if path.is_file() and path not in known:
                self._problem(path.relative_to(folder).as_posix(), "no release has this file")

    def _check_product(self, client: Updater, product: str, known: set[Path]) -> None:
        message = self._store.published(product)
        assert message is not None
        for path, target in message.signed.targets.items():
            known.add(self._store.place(path, target.hashes["sha256"]))
            self._trying(path, self._check_target, client, path, target)

    def _check_target(self, client: Updater, path: str, target: TargetFile) -> None:
        self._checked.targets += 1
        if client.get_targetinfo(path) != target:
            raise FleetlingError("a client does not find it")
        file = self._store.place(path, target.hashes["sha256"])
        if not file.is_file():
            raise FleetlingError("its file is missing")
        data = file.read_bytes()
        self._checked.bytes += len(data)
        target.verify_length_and_hashes(data)
        if hashlib.sha256(data).hexdigest() != target.hashes["sha256"]:
            raise FleetlingError("its file has another hash")
        check_words(path, target.custom)
        check_content(path, target.custom, data, self._repository.image)
