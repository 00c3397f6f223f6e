# SPDX-License-Identifier: MIT
"""The settings' side that changes them, as `wing` calls it.

Loaded when there is something to do, then released.
"""

import json

from micropython import const

from agent.config import application, change, schema, trial
from agent.errors import AgentError

_LARGEST = const(4000)  # bytes of a schema's message


def _table(wing):
    return schema.table(application.read(wing.slot, wing.log))[0]


def published(wing):
    """The schema as text for the broker: {"settings": {name: words}, "more": left out}."""
    words = schema.describe(_table(wing))
    parts = []
    size = 0
    for name in sorted(words, key=lambda name: (name.startswith("app."), name)):
        part = json.dumps(name) + ":" + json.dumps(words[name])
        size += len(part.encode()) + 1
        if size <= _LARGEST:
            parts.append(part)
    return '{"settings":{' + ",".join(parts) + '},"more":' + str(len(words) - len(parts)) + "}"


def desired(wing, payload):
    """Applies a desired document: the report, or None when there is nothing new in it."""
    settings = wing.settings
    before = settings.seen
    report = change.apply(wing.store, settings, _table(wing), payload, wing.board.uptime_s())
    if settings.seen != before:
        tried = ", on trial" if settings.trial else ""
        wing.log.info("config", "{} of {}{}".format(settings.seen[1], settings.seen[0], tried))
    return report


def reached(wing):
    """The broker was reached with the settings that are in force: the report."""
    settings = wing.settings
    if settings.trial:
        trial.confirm(wing.store, settings)
        wing.log.info("config", "confirmed")
    table = _table(wing)
    return change.reported(settings, table, change.unread(wing.store, table))


def undo(wing):
    wing.log.warning("config", "undone: the broker was not reached")
    try:
        trial.undo(wing.store, wing.settings)
    except AgentError as e:
        # In memory it is undone; a reset undoes the rest.
        wing.log.error("config", e.code)
