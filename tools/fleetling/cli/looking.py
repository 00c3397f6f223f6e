# SPDX-License-Identifier: MIT
"""What the commands that look at boards share: the broker, the database, and shown text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fleetling.config.schema import plain
from fleetling.fleet.operator import OnMessage, Operator
from fleetling.fleet.state import Device
from fleetling.home import Home
from fleetling.hub.records import Records
from fleetling.registry import Store

__all__ = ["clock", "event_text", "known", "listening", "shown"]


@contextmanager
def listening(
    home: Home, device_ids: Iterable[str] = (), on_message: OnMessage | None = None
) -> Iterator[Operator]:
    """The broker, with all that it has retained of these devices, or of all."""
    host, port = home.endpoint("broker")
    names = sorted(set(device_ids)) or ["+"]
    with Operator(
        host,
        port,
        ca=home.secret("fleet-ca.pem"),
        certificate=home.secret("operator.pem"),
        key=home.secret("operator.key"),
        on_message=on_message,
        topics=[f"{name}/{topic}" for name in names for topic in ("online", "up/#")],
    ) as operator:
        operator.settle()
        yield operator


def known(home: Home, device_id: str, device: Device | None) -> Records:
    """The records, when the device is known to the hub's list or the broker.

    Raises:
        FleetlingError: nobody knows it.
    """
    store = Store(home.database)
    if device is None:
        store.device(device_id)
    return Records(store)


def shown(value: object) -> str:
    """Anything that a board has sent, as text for a terminal."""
    if isinstance(value, str):
        return plain(value)
    return plain(str(value))


def clock(at: float) -> str:
    """A time for people, in UTC; a board's may be none."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "at no time"


def event_text(event: dict[str, Any]) -> str:
    """An event's own words, without its number and times."""
    said = {key: value for key, value in event.items() if key not in ("seq", "up", "at", "code")}
    if event.get("code") == "alert":
        word = "raised" if said.get("raised") is True else "cleared"
        text = f"{said.get('metric')} {said.get('kind')} {word}: {said.get('value')}"
        return shown(text + f" (limit {said.get('limit')})")
    return shown(" ".join(f"{key} {value}" for key, value in said.items() if value != ""))
