# SPDX-License-Identifier: MIT
"""`fleetling events`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import rich_click as click
from rich.table import Table

from fleetling import home
from fleetling.cli.looking import clock, event_text, listening, shown
from fleetling.cli.options import home_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON
from fleetling.fleet.state import Device
from fleetling.health.picture import since
from fleetling.hub.records import Records
from fleetling.registry import Store


@click.command("events")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--since", "span", default="1d", show_default=True, help="How far back: 90s, 2h, 7d."
)
@click.option("--code", help="Only events with this code: boot, crash, alert, ...")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="At most so many, the newest.",
)
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@JSON
@home_option
def command(
    ids: tuple[str, ...],
    span: str,
    code: str | None,
    limit: int,
    follow: bool,
    as_json: bool,
    folder: Path | None,
) -> None:
    """What boards have told: starts, crashes, alerts, resets. Kept by the hub."""
    place = home.find(folder)
    store = Store(place.database)
    for device_id in ids:
        store.device(device_id)
    begins = max(0.0, time.time() - since(span))
    found = [
        (message.at, message.device_id, dict(message.document))
        for message in Records(store).newest("event", ids, since=begins, limit=limit)
        if code is None or message.document.get("code") == code
    ]
    if as_json:
        for at, device_id, event in found:
            click.echo(json.dumps({"device": device_id, "received": at, **event}))
    elif found:
        table = Table("when (UTC)", "device", "event", "", box=None)
        for at, device_id, event in found:
            row = (clock(at), device_id, shown(event.get("code")), event_text(event))
            table.add_row(*row)
        output.print(table, markup=False, highlight=False)
    elif not follow:
        output.print(
            f"No events in the last {span}. A hub keeps them: is `fleetling hub` running?",
            highlight=False,
        )
    if follow:
        _follow(place, ids, code, as_json)


def _follow(place: home.Home, ids: tuple[str, ...], code: str | None, as_json: bool) -> None:
    def tell(device: Device, topic: str) -> None:
        if topic != "up/event":
            return
        event: dict[str, Any] = device.events[-1]
        if code is not None and event.get("code") != code:
            return
        if as_json:
            click.echo(json.dumps({"device": device.id, "received": time.time(), **event}))
        else:
            text = f"{clock(time.time())}  {device.id}  {shown(event.get('code'))}"
            output.print(f"{text}  {event_text(event)}", markup=False, highlight=False)

    with listening(place, ids, tell) as operator:
        errors.print("Listening; Ctrl-C ends it.", highlight=False)
        while True:
            operator.wait(lambda _: False, 1)
