# SPDX-License-Identifier: MIT
"""Desired documents to the broker, so that the newest is what it keeps.

Two who publish for one device may overtake each other between the database and the broker. Each
looks after its message whether a newer version was made, and sends that one too; so the last
message is the newest document, whoever sent it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fleetling.config.reconcile import Published
from fleetling.config.store import ConfigStore
from fleetling.fleet.state import PREFIX

__all__ = ["document", "publish"]

ROUNDS = 10
# Sends (topic, payload) as a retained message; returns once the broker has it, else raises.
Send = Callable[[str, bytes], None]


def document(epoch: str, version: int, config: Mapping[str, Any]) -> bytes:
    """The message of down/desired."""
    made = {"version": version, "epoch": epoch, "config": dict(config)}
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()


def publish(store: ConfigStore, device_ids: Iterable[str], send: Send) -> dict[str, int]:
    """Sends what devices need and the broker does not have: {id: version sent}.

    Layers may change while this runs, so it looks again until nothing is left to send.
    """
    sent: dict[str, int] = {}
    wanted = sorted(device_ids)
    for _ in range(ROUNDS):
        due = store.state(wanted).due(wanted)
        if not due:
            break
        for device_id, config in due.items():
            sent[device_id] = _publish(store, device_id, config, send)
        wanted = sorted(due)
    return sent


def _publish(store: ConfigStore, device_id: str, config: Mapping[str, Any], send: Send) -> int:
    made: Published | None = store.make(device_id, config)
    while made is not None:
        send(f"{PREFIX}{device_id}/down/desired", document(store.epoch, made.version, made.config))
        if store.sent(device_id, made.version):
            return made.version
        made = store.published(device_id)
    raise AssertionError("a published document is never deleted")
