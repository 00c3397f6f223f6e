# SPDX-License-Identifier: MIT
"""The settings' side that changes them, as `wing` calls it.

Loaded when there is something to do, then released.
"""

import json

from micropython import const

from agent.config import application, change, schema, trial
from agent.errors import AgentError, Refused
from agent.link import document

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
    try:
        report = change.apply(wing.store, settings, _table(wing), payload, wing.board.uptime_s())
    except AgentError as e:  # what is wrong with it, or flash that does not take it
        return _refused(wing, payload, e)
    if settings.seen != before:
        tried = ", on trial" if settings.trial else ""
        wing.log.info("config", "{} of {}{}".format(settings.seen[1], settings.seen[0], tried))
    return report


def _refused(wing, payload, e):
    """The report, with what has become of a document that was refused whole."""
    wing.log.warning("config", e.code)
    report = _report(wing)
    try:
        found = document.parse(payload, e.code)
    except Refused:
        found = {}
    version, epoch = found.get("version"), found.get("epoch")
    if not isinstance(version, int) or not 0 <= version < change.VERSIONS:
        version = None  # what may be anything may also be too long for a report
    if not isinstance(epoch, str) or len(epoch) > change.EPOCH:
        epoch = None
    report["refused"] = {"code": e.code, "version": version, "epoch": epoch}
    return report


def _report(wing):
    table = _table(wing)
    return change.reported(wing.settings, table, change.unread(wing.store, table))


def reached(wing):
    """The broker was reached with the settings that are in force: the report."""
    if wing.settings.trial:
        trial.confirm(wing.store, wing.settings)
        wing.log.info("config", "confirmed")
    return _report(wing)


def undo(wing):
    wing.log.warning("config", "undone: the broker was not reached")
    try:
        trial.undo(wing.store, wing.settings)
    except AgentError as e:
        # In memory it is undone; a reset undoes the rest.
        wing.log.error("config", e.code)
