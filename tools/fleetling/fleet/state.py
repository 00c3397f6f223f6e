# SPDX-License-Identifier: MIT
"""What the fleet has said: messages in, a picture of every device out. No I/O.

Invariants: every message is applied to one device or to none; a malformed one changes nothing and
is counted; what is kept of a device is bounded.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CLAIM_PREFIX", "PREFIX", "Device", "FleetState", "read"]

PREFIX = "fleetling/v1/"
CLAIM_PREFIX = "claim-"  # of the names that boards have before they are enrolled
KEPT_EVENTS = 64
KEPT_REPLIES = 64
UNNUMBERED = 0  # instead of an event's number: rescue.py does not know how far the agent was


def read(payload: bytes) -> dict[str, Any] | None:
    """The JSON object of a message, None when it is none. Numbers that JSON does not have (NaN,
    and what a float does not hold) count as none: `--json` would hand them to programs that do not
    read them."""
    try:
        found = json.loads(payload, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


@dataclass
class Device:
    """One device, as its last messages describe it. Times are Unix seconds at the receiver."""

    id: str
    online: bool = False
    boot: int | None = None
    birth: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    reported: dict[str, Any] = field(default_factory=dict)
    crash: dict[str, Any] = field(default_factory=dict)
    update: dict[str, Any] = field(default_factory=dict)
    assigned: dict[str, Any] = field(default_factory=dict)
    heartbeats: int = 0
    last_seen: float = 0.0
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    replies: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_event: int = 0
    missed_events: int = 0

    def _event(self, event: dict[str, Any]) -> bool:
        number = event.get("seq")
        if not isinstance(number, int):
            return False
        if number == UNNUMBERED:
            self.events.append(event)
            return True
        if number <= self.last_event:
            if event in self.events:
                return False  # a second copy: delivery is at least once
        elif self.last_event:
            self.missed_events += number - self.last_event - 1
        self.last_event = number
        self.events.append(event)
        return True

    def _reply(self, reply: dict[str, Any]) -> bool:
        command = reply.get("id")
        if not isinstance(command, str):
            return False
        self.replies[command] = reply
        while len(self.replies) > KEPT_REPLIES:
            self.replies.pop(next(iter(self.replies)))
        return True

    def apply(self, topic: str, document: dict[str, Any]) -> bool:
        """Takes one message below the device's own topic; False when it says nothing new."""
        if topic == "online":
            self.online = document.get("online") is True
            boot = document.get("boot")
            self.boot = boot if isinstance(boot, int) else self.boot
        elif topic == "up/birth":
            self.birth = document
        elif topic == "up/health":
            self.health = document
            self.heartbeats += 1
        elif topic == "up/schema":
            self.schema = document
        elif topic == "up/reported":
            self.reported = document
        elif topic == "up/crash":
            self.crash = document
        elif topic == "up/update":
            self.update = document
        elif topic == "down/update":
            self.assigned = document
        elif topic == "up/event":
            return self._event(document)
        elif topic == "up/reply":
            return self._reply(document)
        else:
            return False
        return True


@dataclass
class FleetState:
    devices: dict[str, Device] = field(default_factory=dict)
    malformed: int = 0

    def apply(self, topic: str, payload: bytes, at: float) -> Device | None:
        """Takes a message from the broker.

        Args:
            topic: the whole topic.
            payload: its bytes; empty when a retained message was cleared.
            at: Unix seconds of its arrival.

        Returns:
            The device that changed, or None when nothing did.
        """
        if not topic.startswith(PREFIX):
            return None
        device_id, _, rest = topic[len(PREFIX) :].partition("/")
        if not payload and rest == "down/update" and device_id in self.devices:
            self.devices[device_id].assigned = {}
        if not payload:
            return None
        if device_id.startswith(CLAIM_PREFIX):
            return None  # a board that is asking to become a device
        document = read(payload)
        if document is None or not device_id:
            self.malformed += 1
            return None
        device = self.devices.setdefault(device_id, Device(device_id))
        if not device.apply(rest, document):
            return None
        if not rest.startswith("down/"):
            device.last_seen = at
        return device
