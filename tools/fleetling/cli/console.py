# SPDX-License-Identifier: MIT
"""`fleetling console`."""

from __future__ import annotations

import rich_click as click

from fleetling.cli.options import chosen_port, port_option
from fleetling.port.console import Console


@click.command("console")
@port_option
def command(port: str | None) -> int:
    """A board's prompt, with the agent's log.

    It stays when the board resets or is unplugged, and goes on when it is back. Ctrl-] or Ctrl-X
    leaves; Ctrl-C is for the board. Without a terminal the board's output is printed, until
    Ctrl-C.
    """
    return Console(chosen_port(port)).run()
