# SPDX-License-Identifier: MIT
"""`fleetling crash`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rich_click as click

from fleetling import home
from fleetling.cli.looking import clock, known, listening, shown
from fleetling.cli.options import home_option
from fleetling.cli.screen import output
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.health.released import Released, find
from fleetling.health.trace import Frame, frames, installed_agent


@click.command("crash")
@click.argument("device_id", metavar="ID")
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of the application's source; else that of the release that ran.",
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
    birth = device.birth if device is not None else {}
    mapped = _mapped(crash, birth, source, place.repository / "sources")
    if as_json:
        click.echo(json.dumps({**crash, **mapped.document()} if crash else None))
        return
    if not crash:
        note = f" {missing}." if missing else ""
        output.print(f"No crash of {device_id} is known.{note}", highlight=False)
        return
    _print(crash, mapped)


@dataclass(frozen=True)
class _Mapped:
    """The trace with its lines; `used` says where they are from, `missing` why some are not."""

    frames: list[Frame]
    used: list[str]
    missing: list[str]

    def document(self) -> dict[str, Any]:
        rows = [asdict(frame) for frame in self.frames]
        return {"source": rows, "source_from": self.used, "source_missing": self.missing}


def _mapped(
    crash: dict[str, Any], birth: dict[str, Any], source: Path | None, kept: Path
) -> _Mapped:
    """The trace beside the sources: the released ones, else the installed agent's; an application
    folder that a person names goes before both."""
    released = find(crash, kept) if crash else Released()
    agent = released.folder
    # A record of an older agent does not say which one it was: then the one that runs now.
    version = crash.get("agent", birth.get("agent"))
    if agent is None or not (agent / "agent").is_dir():
        agent = installed_agent(version)
    found = frames(crash, agent, source or released.folder)
    ours = [frame for frame in found if frame.file.startswith("agent/")]
    its = [frame for frame in found if frame not in ours]
    used, missing = [], []
    if its and (source or released.folder):
        used.append(f"{source}" if source else f"release {released.name}, {released.folder}")
    elif its:
        missing.append(released.missing)
    if ours and agent is not None and (source or agent != released.folder or not used):
        own = agent == released.folder
        used.append(f"agent of {released.name}, {agent}" if own else "this installation's agent")
    elif ours and agent is None:
        missing.append(f"The board's agent was {version or 'unknown'}, not this one's.")
    if any(not frame.source for frame in found) and not missing:
        missing.append("Some lines are not in these sources.")
    return _Mapped(found, used, missing)


def _print(crash: dict[str, Any], mapped: _Mapped) -> None:
    def say(text: str) -> None:
        output.print(text, highlight=False, markup=False, soft_wrap=True)

    at = crash.get("at")
    when = f"{clock(at)} UTC, " if isinstance(at, int) else ""
    say(f"{shown(crash.get('error'))} in {shown(crash.get('task'))}: {shown(crash.get('text'))}")
    say(f"{when}boot {shown(crash.get('boot'))}, {shown(crash.get('up'))} s after its start")
    if crash.get("again"):
        say(f"and {shown(crash['again'])} times more since")
    app = crash.get("app")
    if isinstance(app, list) and app:
        say(f"application {shown(app[0]) or 'none'}, agent {shown(crash.get('agent', 'unknown'))}")
    for frame in mapped.frames:
        say(f"  {shown(frame.file)}:{frame.line} in {shown(frame.function)}")
        if frame.source:
            say(f"      {shown(frame.source)}")
    for text in mapped.used:
        say(f"Lines from {shown(text)}")
    for text in mapped.missing:
        say(shown(text))
    heap = crash.get("heap")
    if isinstance(heap, dict):
        say("heap: " + ", ".join(f"{shown(k)} {shown(v)}" for k, v in sorted(heap.items())))
    log = crash.get("log")
    for line in log if isinstance(log, list) else ():
        say(f"  | {shown(line)}")
