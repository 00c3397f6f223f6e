# SPDX-License-Identifier: MIT
"""`fleetling reset`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from fleetling import home
from fleetling.cli.options import home_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON
from fleetling.config.desk import Desk
from fleetling.config.layers import Scope
from fleetling.config.store import must_know
from fleetling.errors import FleetlingError
from fleetling.port import facts
from fleetling.port.board import session
from fleetling.port.install import PACK
from fleetling.registry import Store

GOES = {
    "config": "all settings above what was flashed",
    "app": "all settings above what was flashed, the application's slots and its files in /data",
    "identity": "all settings above what was flashed, the application's slots and its files in "
    "/data, and the keys and certificate that it made",
}
THEN = {
    "config": "It comes back over the Wi-Fi that it was flashed with.",
    "app": "It runs what is in the slot 'factory'.",
    "identity": "It enrols again, which this lets it do once.",
}


@click.command("reset")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("-p", "--port", metavar="PORT", help="The board at the bench, on this serial port.")
@click.option("--level", type=click.Choice(list(GOES)), required=True, help="How much goes.")
@click.option("--keep-settings", is_flag=True, help="Leave the device's own settings here.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--timeout", default=15.0, show_default=True, help="Seconds for each to answer.")
@JSON
@home_option
def command(
    ids: tuple[str, ...],
    port: str | None,
    level: str,
    keep_settings: bool,
    yes: bool,
    timeout: float,
    as_json: bool,
    folder: Path | None,
) -> None:
    """Take devices back to how they left the bench.

    With IDs over the broker; with -p the one board on that port, which needs neither broker nor
    fleet. No port is guessed, and no variable names one.

    What the fleet and its groups are set to comes again when a device is back; its own settings
    do not, but with --keep-settings.
    """
    names = list(dict.fromkeys(ids))
    if bool(names) == (port is not None):
        raise click.UsageError("Give IDs for devices of the fleet, or -p PORT for the one there.")
    if port is not None:
        if keep_settings:
            raise click.UsageError("--keep-settings goes with IDs.")
        _at_the_bench(port, level, yes, as_json, folder)
        return
    with Desk(home.find(folder), names) as desk:
        must_know(desk.store.known(), names)
        away = [name for name in names if not desk.heard(name).online]
        if away:
            raise FleetlingError(
                f"Away: {', '.join(away)}",
                "Nothing was changed. A reset reaches a board that is online, or its button.",
            )
        unable = [n for n in names if "reset" not in desk.heard(n).birth.get("commands", [])]
        if unable:
            raise FleetlingError(
                f"The agent of {', '.join(unable)} knows no reset",
                "Nothing was changed. Update it first.",
            )
        if not yes:
            _ask(names, level, keep_settings)
        found = {name: _reset(desk, name, level, keep_settings, timeout) for name in names}
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for name, row in found.items():
            output.print(f"{name}: {row['status']}", highlight=False, markup=False)
    if any(row["status"] != "resets" for row in found.values()):
        sys.exit(1)


def _at_the_bench(port: str, level: str, yes: bool, as_json: bool, folder: Path | None) -> None:
    with session(port) as board:
        name = facts.ask(board).text("id")
        if not board.running and board.sha256(PACK) is None:
            raise FleetlingError("There is no agent on this board", "fleetling install")
        if not yes:
            _ask([name or "the board"], level, keep_settings=False)
        again = level == "identity" and name and _lets_enrol(name, folder)
        board.number("fl_state", "reset", 1 + list(GOES).index(level))
        board.restart = True
    if as_json:
        found = {name or port: {"status": "resets", "level": level}}
        click.echo(json.dumps(found, indent=2))
    else:
        output.print(f"{name or port}: resets", highlight=False, markup=False)
    if level == "identity" and name and not again:
        errors.print(
            f"The hub has to let it enrol once more: fleetling device allow-enrol {name}",
            highlight=False,
        )


def _lets_enrol(name: str, folder: Path | None) -> bool:
    """Whether the hub of this fleet lets it enrol once more; not where it was revoked."""
    try:
        store = Store(home.find(folder).database)
        known = {device.id: device for device in store.devices()}
        if name not in known or known[name].revoked_at is not None:
            return False
        store.allow_again(name)
    except FleetlingError:
        if folder is not None:
            raise
        return False
    return True


def _ask(names: list[str], level: str, keep_settings: bool) -> None:
    if not sys.stdin.isatty():
        raise FleetlingError("Nobody is there to be asked", "Nothing was changed. Use --yes.")
    click.echo(f"From {', '.join(names)} goes: {GOES[level]}.")
    click.echo("What was flashed stays; settings of the fleet and of groups come back.")
    if keep_settings:
        click.echo("Its own settings stay here, so they come back too.")
    click.echo(THEN[level])
    click.confirm("Reset?", abort=True)


def _reset(
    desk: Desk, name: str, level: str, keep_settings: bool, timeout: float
) -> dict[str, Any]:
    if level == "identity":
        desk.hub.allow_again(name)  # first: the board may be back before we know
    try:
        reply = desk.operator.command(name, "reset", {"level": level}, timeout_s=timeout)
    except FleetlingError as e:
        return {"status": f"no answer: {e.message}", "level": level}
    if reply.get("status") != "ok":
        return {"status": f"refused: {reply.get('code', 'no reason')}", "level": level}
    if not keep_settings:
        # After the answer: a board that refuses keeps its settings.
        scope = Scope("device", name)
        planned = desk.plan([scope], lambda _: {})
        if planned.layers:
            desk.put_in_force(planned, [scope], lambda _: {}, f"reset to level {level}")
        desk.publish([name])
    return {"status": "resets", "level": level}
