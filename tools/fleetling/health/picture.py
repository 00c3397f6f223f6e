# SPDX-License-Identifier: MIT
"""What heartbeats and events add up to, as values and as short texts. No I/O.

Everything here comes from boards, which may be broken or hostile: whatever is not as expected
counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device

__all__ = [
    "age",
    "figure",
    "figures",
    "needs_help",
    "number",
    "open_alerts",
    "since",
    "spark",
    "state_of",
]

BLOCKS = "▁▂▃▄▅▆▇█"
GAP = "·"
LEAST, MEAN, GREATEST, LAST = range(4)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def figure(heartbeat: Mapping[str, Any], name: str, which: int = LAST) -> int | None:
    """One number of a heartbeat's figure, or None."""
    found = heartbeat.get("m")
    values = found.get(name) if isinstance(found, dict) else None
    if not isinstance(values, list) or len(values) != 4:
        return None
    return number(values[which])


def number(value: object) -> int | None:
    """A whole number that a float holds as well, or None."""
    return value if isinstance(value, int) and abs(value) < 1 << 53 else None


def figures(heartbeats: Iterable[Mapping[str, Any]], name: str, which: int = MEAN) -> list[Any]:
    """The figure of each heartbeat, None where there is none."""
    return [figure(heartbeat, name, which) for heartbeat in heartbeats]


def spark(values: Sequence[int | None], width: int) -> str:
    """The last `width` values as a line of blocks; a gap where there is none."""
    shown = list(values[-width:])
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(BLOCKS) - 1
    return "".join(
        GAP if value is None else BLOCKS[(value - low) * top // span if span else top // 2]
        for value in shown
    )


def age(seconds: float) -> str:
    """A time span as people say it: 5 s, 12 min, 3 h, 2 d."""
    seconds = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def since(text: str) -> float:
    """Seconds of a time span that a person types: 90s, 15m, 2h, 7d.

    Raises:
        FleetlingError: it is none.
    """
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if found is None:
        raise FleetlingError(f"{text!r} is no time span", "Give one like 90s, 15m, 2h or 7d.")
    return float(int(found[1]) * UNITS[found[2]])


def open_alerts(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The alerts that were raised and not cleared, by events in their order. A new boot has
    forgotten those of the last one."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        code = event.get("code")
        if code == "boot":
            found.clear()
        if code != "alert":
            continue
        key = str(event.get("metric")), str(event.get("kind"))
        if event.get("raised") is True:
            found[key] = event
        else:
            found.pop(key, None)
    return list(found.values())


def state_of(device: Device) -> str:
    """A word: away, safe mode, development, trial, or online."""
    if not device.online:
        return "away"
    mode = device.birth.get("mode")
    if mode in ("safe", "development"):
        return "safe mode" if mode == "safe" else "development"
    return "trial" if device.reported.get("trial") is True else "online"


def needs_help(device: Device) -> int:
    """What comes first in a list: alerts and safe mode, then those that are away, the rest."""
    if state_of(device) == "safe mode" or open_alerts(device.events):
        return 0
    return 1 if not device.online else 2
