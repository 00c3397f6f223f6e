# SPDX-License-Identifier: MIT
"""Who may say and hear what (docs/wire.md), as data: one table, for every broker.

There are two doors. At the devices' door come identities of the fleet CA: boards under their id,
and the operators and hubs that are named in the configuration. At the claims' door come
identities of the claim CA, and all that they can reach is their own enrolment. What a door's CA
has signed is worth nothing at the other (docs/decisions/0002-two-doors.md).
"""

from __future__ import annotations

from enum import Enum

from fleetling.fleet.state import PREFIX
from fleetling.pki import STAFF

__all__ = ["CLAIM_RULES", "DEVICE_RULES", "STAFF", "Access", "allowed", "mosquitto_acl"]


class Access(Enum):
    READ = "read"
    WRITE = "write"


# `%u` is the certificate's CN.
DEVICE_RULES = (
    (Access.READ, f"{PREFIX}%u/down/#"),
    (Access.WRITE, f"{PREFIX}%u/up/#"),
    (Access.WRITE, f"{PREFIX}%u/online"),
)
CLAIM_RULES = (
    (Access.READ, f"{PREFIX}%u/down/enrol"),
    (Access.WRITE, f"{PREFIX}%u/up/enrol"),
)
STAFF_TOPICS = f"{PREFIX}#"


def allowed(user: str, access: Access, topic: str, *, claim: bool) -> bool:
    """Whether `user` may publish to `topic`, or subscribe to it as a filter.

    Args:
        user: the certificate's CN.
        access: READ to subscribe or receive, WRITE to publish.
        topic: a topic, or the filter of a subscription.
        claim: whether it came through the claims' door.
    """
    if not claim and user in STAFF:
        return _covers(STAFF_TOPICS, topic)
    rules = CLAIM_RULES if claim else DEVICE_RULES
    return any(
        access is wanted and _covers(pattern.replace("%u", user), topic)
        for wanted, pattern in rules
    )


def _covers(pattern: str, topic: str) -> bool:
    """Whether everything that the filter `topic` matches is matched by `pattern`.

    `pattern` has no wildcard but a "#" at its end.
    """
    if not pattern.endswith("/#"):
        return topic == pattern
    root = pattern[:-2].split("/")
    levels = topic.split("/")
    return levels[: len(root)] == root


def mosquitto_acl(*, claim: bool) -> str:
    """The rules of one door in the format of mosquitto's acl_file."""
    lines = ["# Made by `fleetling broker config`. Whatever is not allowed here is denied."]
    if claim:
        rules: tuple[tuple[Access, str], ...] = CLAIM_RULES
    else:
        rules = DEVICE_RULES
        for name in STAFF:
            lines += ["", f"user {name}", f"topic readwrite {STAFF_TOPICS}"]
            if name == "hub":
                lines.append(f"topic read $share/fleetling-hub/{STAFF_TOPICS}")
        lines.append("")
    lines += [f"pattern {access.value} {pattern}" for access, pattern in rules]
    return "\n".join(lines) + "\n"
