# SPDX-License-Identifier: MIT
"""An application's folder, and what of it goes onto boards."""

from __future__ import annotations

from pathlib import Path

from fleetling.errors import FleetlingError

__all__ = ["read_application"]

# A folder's tests, and what they and editors leave, stay on the host.
_FOLDERS = {"__pycache__", "tests"}
_FILES = {"conftest.py", "pyproject.toml", "pytest.ini"}


def read_application(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The application's files by path, and what is left out: hidden files, caches, tests.

    Raises:
        FleetlingError: the folder holds no application.
    """
    files, left_out = {}, []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file():
            if path.is_symlink():  # to a folder, or to nothing: it is not followed
                left_out.append(name.as_posix())
            continue
        if _stays(name):
            left_out.append(name.as_posix())
        else:
            files[name.as_posix()] = path.read_bytes()
    if "app.py" not in files and "app/__init__.py" not in files:
        raise FleetlingError(
            f"{folder} has no app.py", "An application is app.py, or a package app."
        )
    return files, left_out


def _stays(name: Path) -> bool:
    return (
        any(part.startswith(".") or part in _FOLDERS for part in name.parts)
        or name.name in _FILES
        or name.match("test_*.py")
    )
