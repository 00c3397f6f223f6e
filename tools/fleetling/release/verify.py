# SPDX-License-Identifier: MIT
"""Verifies a repository as a client would that knows its first root alone, and more closely.

python-tuf's client walks roots, timestamp, snapshot and roles; then every target is read, and held
against its words and against what boards take; then every other file has to belong here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig  # type: ignore[attr-defined]

from fleetling.release.limits import board_limits

__all__ = ["updater"]

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
