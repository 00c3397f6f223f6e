# SPDX-License-Identifier: MIT
"""`fleetling watch`."""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import rich_click as click
from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fleetling import home
from fleetling.cli.looking import event_text, listening, shown
from fleetling.cli.options import home_option
from fleetling.cli.screen import output
from fleetling.cli.targets import JSON
from fleetling.fleet.state import Device, FleetState
from fleetling.health.picture import age, figure, needs_help, open_alerts, spark, state_of
from fleetling.update.picture import in_a_line, noteworthy
from fleetling.update.standing import standing

KEPT = 24
REFRESH_S = 0.5
WIDE = 100
STYLES = {"online": "green", "away": "red", "safe mode": "bold yellow", "trial": "yellow"}
SHOWN = (("heap", "heap KB", 1024), ("rssi", "signal", 1), ("lag_ms", "delay ms", 1))


class History:
    """The last figures of each device, for their lines."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], deque[int | None]] = defaultdict(
            lambda: deque(maxlen=KEPT)
        )

    def take(self, device: Device) -> None:
        for name, _, _ in SHOWN:
            self._values[device.id, name].append(figure(device.health, name))

    def line(self, device_id: str, name: str, width: int) -> str:
        return spark(list(self._values[device_id, name]), width)


@click.command("watch")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@JSON
@home_option
def command(ids: tuple[str, ...], as_json: bool, folder: Path | None) -> None:
    """The fleet live, from the broker alone: what needs help first. Ctrl-C ends it.

    Without a terminal, or with --json, a line for each change.
    """
    place = home.find(folder)
    history = History()
    live = output.is_terminal and not as_json

    def hear(device: Device, topic: str) -> None:
        if topic == "up/health":
            history.take(device)
        if not live:
            _say(device, topic, as_json)

    with listening(place, ids, hear) as operator:
        if not live:
            while True:
                operator.wait(lambda _: False, 1)
        with Live(console=output, auto_refresh=False, screen=True) as picture:
            while True:
                picture.update(_table(operator.state, history), refresh=True)
                operator.wait(lambda _: False, REFRESH_S)


def _say(device: Device, topic: str, as_json: bool) -> None:
    if as_json:
        documents: dict[str, Any] = {
            "online": {"online": device.online, "boot": device.boot},
            "up/birth": device.birth,
            "up/health": device.health,
            "up/reported": device.reported,
            "up/crash": device.crash,
            "up/update": device.update,
        }
        document = dict(device.events[-1]) if topic == "up/event" else documents.get(topic)
        if document is not None:
            click.echo(json.dumps({"device": device.id, "topic": topic, "document": document}))
        return
    text = {"online": state_of(device), "up/birth": "has started", "up/crash": "has crashed"}
    line = text.get(topic, "")
    if topic == "up/event":
        event = device.events[-1]
        line = f"{shown(event.get('code'))} {event_text(event)}"
    elif topic == "up/update":
        line = f"update: {in_a_line(standing(device))}"
    elif topic == "up/health":
        figures = [(title, figure(device.health, name), scale) for name, title, scale in SHOWN]
        line = "  ".join(
            f"{t} {value // scale}" for t, value, scale in figures if value is not None
        )
    if line:
        output.print(f"{device.id}  {line}", highlight=False, markup=False, soft_wrap=True)


def _table(state: FleetState, history: History) -> Table:
    devices = sorted(state.devices.values(), key=lambda d: (needs_help(d), d.id))
    width = 10 if output.width >= WIDE else 5
    rows = max(1, output.height - 5)
    away = sum(not device.online for device in devices)
    title = f"{len(devices)} devices, {away} away"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in ("device", "state", *(title for _, title, _ in SHOWN), "seen", "what is wrong"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for device in devices[:rows]:
        state_ = state_of(device)
        cells = []
        for name, _, scale in SHOWN:
            value = figure(device.health, name)
            number = "" if value is None else f"{value // scale:>5}"
            cells.append(f"{number} {history.line(device.id, name, width)}".rstrip())
        alerts = ", ".join(
            f"{shown(alert.get('metric'))} {shown(alert.get('kind'))}"
            for alert in open_alerts(device.events)
        )
        update = standing(device)
        seen = age(time.time() - device.last_seen) if device.last_seen else ""
        wrong = alerts or (shown(device.birth.get("why", "")) if state_ == "safe mode" else "")
        if not wrong and noteworthy(update):
            wrong = f"update: {in_a_line(update)}"
        table.add_row(
            device.id,
            Text(state_, STYLES.get(state_, "")),
            *cells,
            seen,
            Text(wrong, "bold red" if alerts else "yellow"),
        )
    if not devices:
        table.add_row("no devices yet", "", "", "", "", "", "")
    if len(devices) > rows:
        table.caption = f"and {len(devices) - rows} more; name some: fleetling watch ID..."
    return table
