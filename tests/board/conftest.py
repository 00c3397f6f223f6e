# SPDX-License-Identifier: MIT
"""The tests that a real board takes too: on a simulated one, or with `--board PORT`.

The simulated board is a process of the real interpreter with its prompt on a pty, so that both are
reached in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asked import Asked

from fleetling.demo.application import APPLICATION
from fleetling.demo.fleet import WIFI
from fleetling.image.flash import build_flash, first_files
from fleetling.simboard.chip import stock
from fleetling.simboard.process.terminal import BoardOnPty

TOUCHED = """\
These tests run programs on the board at {port}. They
  - reset it several times, and end whatever it does now;
  - switch its development mode on, and back to what it was at their end;
  - write to the NVS namespace "fl_test", to the last sector of the app partition that does not
    run, to RTC memory, and to /fl_test, and put back or remove all of it;
  - with --board-wifi and --board-host, make it a member of a fleet of their own for some minutes:
    its NVS and its files in /fl are read before and written back afterwards;
  - never write to the running firmware or to the slot that it was flashed with.
A board that loses power meanwhile keeps what was not yet put back.
Say --board-yes to go on.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("board")
    group.addoption("--board", metavar="PORT", help="Run the tests in tests/board on this board.")
    group.addoption("--board-yes", action="store_true", help="Yes, the board may be touched.")
    group.addoption("--board-wifi", metavar="SSID", help="With FLEETLING_WIFI_PASSWORD.")
    group.addoption("--board-host", metavar="IP", help="This machine, as the board reaches it.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    mine = [item for item in items if here in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.board)
    port = config.getoption("--board")
    if port and mine and not config.getoption("--board-yes"):
        pytest.exit(TOUCHED.format(port=port), returncode=4)
    if port and mine and hasattr(config, "workerinput"):  # of xdist
        pytest.exit("A board takes one test at a time: leave out -n.", returncode=4)


@pytest.fixture(scope="session")
def real(request: pytest.FixtureRequest) -> bool:
    """Whether there is silicon at the other end."""
    return bool(request.config.getoption("--board"))


@pytest.fixture(scope="session")
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    """The prompt of a board in development mode, with the agent on it."""
    port = request.config.getoption("--board")
    if port:
        yield from _at(str(port))
        return
    folder = tmp_path_factory.mktemp("board")
    image = build_flash(
        firmware=stock.build_app(),
        nvs=b"\xff" * 0x4000,
        files=first_files("1.0.0", APPLICATION),
    )
    (folder / "flash.bin").write_bytes(image)
    with BoardOnPty(folder, [WIFI]) as running:
        yield from _at(running.path)


DEV = """
import esp32
state = esp32.NVS("fl_state")
try:
    result = state.get_i32("dev")
except OSError:
    result = 0
state.set_i32("dev", {})
state.commit()
"""
RESET = "import machine\nmachine.reset()"


def _at(port: str) -> Iterator[Asked]:
    found = Asked(port)
    try:
        was = found.ask(DEV.format(1))
        found.after(RESET)
        try:
            yield found
        finally:
            found.ask(DEV.format(was))
            found.after(RESET)
    finally:
        found.close()


if sys.platform == "win32":  # pragma: no cover
    collect_ignore_glob = ["*"]  # a pseudo-terminal is needed
