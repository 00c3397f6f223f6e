# SPDX-License-Identifier: MIT
"""What a board is told to run, and when: the message of `down/update`. No I/O."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.health.picture import since

__all__ = ["Assignment", "moment", "new_id", "span", "spread"]

LONGEST_SPREAD = 3600
MOST_SPREAD = 86400  # what a board takes (agent/update/order.py)


@dataclass(frozen=True)
class Assignment:
    """Without targets it takes back what was assigned before. Times are Unix seconds."""

    id: str
    targets: tuple[str, ...] = ()
    not_before: int | None = None
    deadline: int | None = None
    jitter_s: int | None = None

    def message(self) -> bytes:
        made: dict[str, Any] = {"id": self.id, "targets": list(self.targets)}
        for name in ("not_before", "deadline", "jitter_s"):
            value = getattr(self, name)
            if value is not None:
                made[name] = value
        return json.dumps(made, separators=(",", ":")).encode()

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Assignment | None:
        """The assignment that a retained message holds; None when it holds none."""
        name, targets = document.get("id"), document.get("targets")
        if not isinstance(name, str) or not name.isprintable() or not isinstance(targets, list):
            return None
        if not targets or not all(isinstance(p, str) and p.isprintable() for p in targets):
            return None
        times = [document.get(key) for key in ("not_before", "deadline", "jitter_s")]
        return cls(name, tuple(targets), *[t if isinstance(t, int) else None for t in times])


def new_id() -> str:
    """An id that says when it was made: 20261123-1815-5f0c2a."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M}-{secrets.token_hex(3)}"


def moment(text: str) -> int:
    """Unix seconds of what a person types: 2026-11-24T03:00 (UTC unless it says otherwise), +2h.

    Raises:
        FleetlingError: it is no time.
    """
    if text.startswith("+"):
        return int(time.time() + span(text[1:]))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise FleetlingError(
            f"{text!r} is no time",
            "Give one like +2h, 2026-11-24T03:00 (UTC) or 2026-11-24T03:00+01:00.",
        ) from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def span(text: str) -> float:
    """Seconds of a span that a person types: 90, 90s, 15m, 1h30m.

    Raises:
        FleetlingError: it is none.
    """
    if re.fullmatch(r"\d{1,6}", text):
        return float(text)
    parts = re.findall(r"\d+[smhdw]", text)
    if not parts or "".join(parts) != text:
        raise FleetlingError(f"{text!r} is no time span", "Give one like 90s, 15m or 1h30m.")
    return sum(since(part) for part in parts)


def spread(count: int) -> int | None:
    """Seconds over which so many boards begin: one a second, within an hour; None for one."""
    return min(count, LONGEST_SPREAD) if count > 1 else None
