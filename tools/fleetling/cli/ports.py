# SPDX-License-Identifier: MIT
"""`fleetling ports`."""

from __future__ import annotations

import json

import rich_click as click
from rich.table import Table
from rich.text import Text

from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON
from fleetling.port.ports import VARIABLES, listed


@click.command("ports")
@JSON
def command(as_json: bool) -> None:
    """The serial ports of this machine, and what may be on them.

    Nothing is opened: which chip it is shows in how its USB calls itself. Behind a bridge it
    could be any.
    """
    found = listed()
    if as_json:
        click.echo(json.dumps([port.document() for port in found], indent=2))
        return
    if not found:
        errors.print(
            "This machine has no serial port. Plug a board in, with a cable that carries data;\n"
            "a port on another machine: -p rfc2217://HOST:PORT or socket://HOST:PORT.",
            highlight=False,
        )
        return
    table = Table("port", "VID:PID", "chip", "description", "serial number", box=None)
    for port in found:
        chip = port.chip or "no board, it seems"
        cells = (port.device, port.usb, chip, port.description, port.serial_number)
        table.add_row(*(Text(cell) for cell in cells), style="" if port.likely else "dim")
    output.print(table)
    errors.print(
        f"A command takes -p PORT, then {', then '.join(VARIABLES)}, then the only likely one.",
        highlight=False,
        style="dim",
    )
