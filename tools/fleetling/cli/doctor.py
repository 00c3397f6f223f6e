# SPDX-License-Identifier: MIT
"""`fleetling doctor`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import rich_click as click

from fleetling import home
from fleetling.cli import findings
from fleetling.cli.options import chosen_port, home_option
from fleetling.cli.screen import errors
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.port import checks, doctor
from fleetling.port.board import session
from fleetling.port.checks import SKIPPED, WRONG, Finding
from fleetling.port.facts import Facts
from fleetling.port.prompt import PortError, SilentError


@click.command("doctor")
@click.argument("port", required=False)
@click.option("-p", "--port", "option", metavar="PORT", help="The same as PORT.")
@click.option("--offline", is_flag=True, help="Dial nothing: the board alone.")
@JSON
@home_option
def command(
    port: str | None, option: str | None, offline: bool, as_json: bool, folder: Path | None
) -> None:
    """Look a board over, and what it needs around it; each finding has its remedy.

    Exit code 1 when something is wrong; warnings do not count. The agent is stopped for it, and
    the board resets at the end.
    """
    chosen = chosen_port(port or option)
    now = checks.now()
    facts = Facts()
    try:
        with session(chosen) as it:
            facts, found = doctor.board(it, now)
        found.insert(0, Finding("port", checks.GOOD, chosen))
    except (PortError, SilentError) as e:
        found = [Finding("port", WRONG, e.message, e.hint)]
    if found[0].state != WRONG:
        found += doctor.fleet(_home(folder), facts)
        if offline:
            found.append(Finding("surroundings", SKIPPED, "--offline"))
        else:
            found += doctor.surroundings(facts, now)
    wrong = sum(each.state == WRONG for each in found)
    if as_json:
        click.echo(json.dumps([each.document() for each in found], indent=2))
    else:
        findings.show(found)
        warnings = sum(each.state == checks.WARNING for each in found)
        errors.print(f"{wrong} wrong, {warnings} warnings, {len(found)} checks.", highlight=False)
    if wrong:
        sys.exit(1)


def _home(folder: Path | None) -> home.Home | None:
    try:
        return home.find(folder)
    except FleetlingError:
        if folder is not None:
            raise
        return None
