# SPDX-License-Identifier: MIT
"""`fleetling crash`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from fleetling import home
from fleetling.cli.looking import clock, known, listening, shown
from fleetling.cli.options import home_option
from fleetling.cli.screen import output
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.health.trace import frames


@click.command("crash")
@click.argument("device_id", metavar="ID")
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of the application's source, of the version that ran.",
)
@JSON
@home_option
def command(device_id: str, source: Path | None, as_json: bool, folder: Path | None) -> None:
    """The last crash of a board: what, where, and how the board was then."""
    place = home.find(folder)
    device, missing = None, ""
    try:
        with listening(place, [device_id]) as operator:
            device = operator.state.devices.get(device_id)
    except FleetlingError as e:
        missing = e.message
    records = known(place, device_id, device)
    crash: dict[str, Any] = dict(device.crash) if device is not None else {}
    if not crash:
        kept = records.newest("crash", [device_id], limit=1)
        crash = dict(kept[0].document) if kept else {}
    if as_json:
        click.echo(json.dumps(crash or None))
        return
    if not crash:
        note = f" {missing}." if missing else ""
        output.print(f"No crash of {device_id} is known.{note}", highlight=False)
        return
    birth = device.birth if device is not None else {}
    _print(crash, birth, source)


def _print(crash: dict[str, Any], birth: dict[str, Any], source: Path | None) -> None:
    def say(text: str) -> None:
        output.print(text, highlight=False, markup=False, soft_wrap=True)

    at = crash.get("at")
    when = f"{clock(at)} UTC, " if isinstance(at, int) else ""
    say(f"{shown(crash.get('error'))} in {shown(crash.get('task'))}: {shown(crash.get('text'))}")
    say(f"{when}boot {shown(crash.get('boot'))}, {shown(crash.get('up'))} s after its start")
    if crash.get("again"):
        say(f"and {shown(crash['again'])} times more since")
    trace = frames(crash, birth.get("agent"), source)
    for frame in trace:
        say(f"  {shown(frame.file)}:{frame.line} in {shown(frame.function)}")
        if frame.source:
            say(f"      {shown(frame.source)}")
    if any(not frame.source and not frame.file.startswith("agent/") for frame in trace):
        say("For the lines of the application: --source FOLDER")
    if any(not frame.source and frame.file.startswith("agent/") for frame in trace):
        say(f"The board's agent is {shown(birth.get('agent', 'unknown'))}, not this one's.")
    heap = crash.get("heap")
    if isinstance(heap, dict):
        say("heap: " + ", ".join(f"{shown(k)} {shown(v)}" for k, v in sorted(heap.items())))
    log = crash.get("log")
    for line in log if isinstance(log, list) else ():
        say(f"  | {shown(line)}")
