# SPDX-License-Identifier: MIT
"""The pytest plugin: `fleetling_board`, a board with the application that is tested.

Installed with Fleetling. It costs nothing before a test asks for a board.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fleetling.testing.board import AppBoard

MARKER = (
    "fleetling(app=FOLDER, settings={}, files={}, seed=1, rollback=True): the board that "
    "`fleetling_board` is"
)
KNOWN = {"app", "settings", "files", "seed", "rollback"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "fleetling_app", "The application's folder, from the root of the project.", default=""
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def fleetling_board(request: pytest.FixtureRequest) -> Iterator[AppBoard]:
    """A simulated board with your application, in virtual time; off until it is run.

    The application is the marker's `app`, else the ini option `fleetling_app`, else that of the
    nearest folder above the test that holds one.
    """
    from fleetling.application import read_application
    from fleetling.testing.board import AppBoard

    chosen: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("fleetling"))):  # the nearest wins
        chosen |= marker.kwargs
    if unknown := sorted(set(chosen) - KNOWN):
        raise pytest.UsageError(f"fleetling marker: no {', '.join(unknown)}; it takes: {MARKER}")
    folder = _application(request, chosen.pop("app", None))
    files = {**read_application(folder)[0], **chosen.pop("files", {})}
    _check_names(chosen.get("settings") or {}, files.get("settings.json", b"{}"))
    board = AppBoard(files, **chosen)
    try:
        yield board
    finally:
        board.close()


def _check_names(settings: Mapping[str, Any], declared: bytes) -> None:
    """Refuses what no board has: it would be flashed, count for nothing, and the test pass."""
    from fleetling.config.schema import OWN, Schema

    try:
        own = list(json.loads(declared))
    except (ValueError, TypeError):
        return  # what the board makes of that is what the test is to find out
    known = {*Schema(None).names, *(f"{OWN}{name}" for name in own)}
    if unknown := sorted(set(settings) - known):
        raise pytest.UsageError(
            f"fleetling marker: no setting {', '.join(unknown)}; there are: "
            + ", ".join(sorted(known))
        )


def _application(request: pytest.FixtureRequest, given: str | Path | None) -> Path:
    if given is not None:
        return Path(request.path.parent, given)
    if configured := request.config.getini("fleetling_app"):
        return Path(request.config.rootpath, configured)
    for folder in request.path.parents:
        if (folder / "app.py").is_file() or (folder / "app" / "__init__.py").is_file():
            return folder
        if folder == request.config.rootpath:
            break
    raise pytest.UsageError(
        f"no application for {request.node.nodeid}: no app.py in a folder above it. Name it: "
        '@pytest.mark.fleetling(app="FOLDER"), or fleetling_app in the ini file'
    )
