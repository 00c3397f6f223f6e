# SPDX-License-Identifier: MIT
"""The settings' side that changes them, as `wing` calls it.

Loaded when there is something to do, then released.
"""

from agent.config import change, schema, trial
from agent.errors import AgentError


def _table(wing):
    return schema.table(wing.application)[0]


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
    return change.reported(settings, change.unread(wing.store, _table(wing)))


def undo(wing):
    wing.log.warning("config", "undone: the broker was not reached")
    try:
        trial.undo(wing.store, wing.settings)
    except AgentError as e:
        # In memory it is undone; a reset undoes the rest.
        wing.log.error("config", e.code)
