# SPDX-License-Identifier: MIT
"""`fleetling status`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import rich_click as click

from fleetling import home
from fleetling.cli.looking import clock, event_text, known, listening, shown
from fleetling.cli.options import home_option
from fleetling.cli.screen import output
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device
from fleetling.health.picture import age, figure, figures, open_alerts, spark, state_of
from fleetling.update.picture import in_a_line
from fleetling.update.standing import At, standing

WIDTH = 40
FIGURES = (
    ("heap", "heap free", "bytes"),
    ("block", "largest block", "bytes"),
    ("storage", "storage free", "bytes"),
    ("nvs", "NVS free", "entries"),
    ("lag_ms", "loop delay", "ms"),
    ("rssi", "signal", "dBm"),
    ("temperature_c", "temperature", "°C"),
)


@click.command("status")
@click.argument("device_id", metavar="ID")
@JSON
@home_option
def command(device_id: str, as_json: bool, folder: Path | None) -> None:
    """One board on one screen: who it is, how it is, what is wrong."""
    place = home.find(folder)
    device, missing = None, ""
    try:
        with listening(place, [device_id]) as operator:
            device = operator.state.devices.get(device_id)
    except FleetlingError as e:
        missing = e.message
    records = known(place, device_id, device)
    device = device or Device(device_id)
    beats = records.newest("health", [device_id], limit=WIDTH)
    events = [dict(m.document) for m in records.newest("event", [device_id], limit=200)]
    if not device.health and beats:
        device.health = dict(beats[-1].document)
    alerts = [dict(alert) for alert in open_alerts(events)]
    if as_json:
        found = {
            "id": device_id,
            "state": "unknown" if missing else state_of(device),
            "birth": device.birth,
            "health": device.health,
            "reported": device.reported,
            "update": device.update,
            "alerts": alerts,
            "crash": device.crash or None,
            "events": events[-10:],
        }
        click.echo(json.dumps(found, indent=2))
        return
    history = [dict(message.document) for message in beats]
    heard = beats[-1].at if beats else None
    for name, text in _lines(device, missing, history, heard, alerts, events):
        output.print(f"{name:14} {text}", highlight=False, markup=False, soft_wrap=True)


def _lines(
    device: Device,
    missing: str,
    history: list[dict[str, Any]],
    heard: float | None,
    alerts: list[dict[str, Any]],
    events: list[dict[str, Any]],
) -> list[tuple[str, str]]:
    birth, health = device.birth, device.health
    lines = [("device", f"{device.id}  {missing or state_of(device)}")]
    if birth:
        firmware = " ".join(shown(birth.get(k, "")) for k in ("board", "firmware"))
        agent = f"agent {shown(birth.get('agent'))}, application {shown(birth.get('app') or '-')}"
        lines += [("board", firmware), ("runs", f"{agent}, slot {shown(birth.get('slot'))}")]
        why = " ".join(shown(birth.get(k, "")) for k in ("cause", "why") if birth.get(k))
        lines.append(("boot", f"{shown(birth.get('boot'))} after {why}"))
    if isinstance(health.get("up"), int):
        ago = f", heard {age(time.time() - heard)} ago" if heard else ""
        lines.append(("uptime", age(health["up"]) + ago))
    for name, title, unit in FIGURES:
        value = figure(health, name)
        if value is not None:
            line = spark(figures(history, name), WIDTH)
            lines.append((title, f"{value:>10,} {unit:7} {line}"))
    reported = device.reported
    if reported:
        keys = reported.get("keys")
        named = ", ".join(map(shown, keys)) if isinstance(keys, dict) else ""
        refused = f", refused: {named}" if named else ""
        trial = ", on trial" if reported.get("trial") is True else ""
        lines.append(("settings", f"version {shown(reported.get('version'))}{trial}{refused}"))
    if device.update:
        found = standing(device)
        if found.at is not At.NONE or found.report.state != "idle":
            lines.append(("update", in_a_line(found)))
    for alert in alerts:
        text = f"{shown(alert.get('metric'))} {shown(alert.get('kind'))}"
        lines.append(("ALERT", f"{text}: {shown(alert.get('value'))}"))
    if device.crash:
        crash = device.crash
        text = f"{shown(crash.get('error'))} in {shown(crash.get('task'))}"
        text += f" at boot {shown(crash.get('boot'))}"
        lines.append(("last crash", f"{text}; fleetling crash {device.id}"))
    for event in events[-5:]:
        at = event.get("at")
        when = clock(at) if isinstance(at, int) else ""
        lines.append(("event", f"{when}  {shown(event.get('code'))} {event_text(event)}"))
    if not history and not missing:
        lines.append(("", "No history: a hub keeps it (fleetling hub)."))
    return lines
