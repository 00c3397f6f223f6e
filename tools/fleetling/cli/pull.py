# SPDX-License-Identifier: MIT
"""`fleetling pull`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from fleetling.cli.options import chosen_port, port_option
from fleetling.cli.screen import errors, output
from fleetling.port.board import session
from fleetling.port.pull import pull


@click.command("pull")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@port_option
def command(folder: Path, port: str | None) -> None:
    """Take settings, log, crash, events and the update's record off a board into FOLDER.

    No secret is among them: keys, claims, Wi-Fi and settings that are marked as secret stay on
    the board. The agent is stopped for it, and the board resets at the end.
    """
    with session(chosen_port(port)) as board:
        written = pull(board, folder)
        stopped = board.restart
    for path in written:
        output.print(str(path), highlight=False, markup=False, soft_wrap=True)
    if stopped:
        errors.print("The agent was stopped for this; the board resets.", highlight=False)
