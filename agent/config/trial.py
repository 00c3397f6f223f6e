# SPDX-License-Identifier: MIT
"""Settings on trial: in force, but not on flash, until the broker was reached with them.

Invariants:
- while a trial runs, flash holds the old settings, and a mark: which document is tried, and its
  deadline in seconds of uptime. The tried values are in memory alone, so a reset ends the trial,
  and a secret that did not work was never written;
- a confirmation is one write of the record; the mark goes afterwards;
- an undoing writes the old settings once more, under the version that was tried, so that the same
  document, which the broker still holds, is not tried again for ever;
- a mark that names the stored document is what a cut left of either, and is just erased.
"""

from agent.config import stored

_KEY = "trial"


class Trial:
    """`document` is what is tried; `before` the values that were in force; `until` in uptime."""

    def __init__(self, document, before, until):
        self.document = document
        self.before = before
        self.until = until


def begin(store, settings, document, values, until):
    """Puts `values` in force until `until`. A trial that runs already is replaced."""
    before = settings.trial.before if settings.trial else settings.values
    mark = {"e": document["e"], "v": document["v"], "until": until}
    store.set(_KEY, stored.packed(mark))
    settings.trial = Trial(document, before, until)
    stored.seen(settings, document)
    settings.use(values)


def confirm(store, settings):
    """The broker was reached with the settings on trial: they stay."""
    stored.save(store, settings.trial.document)
    settings.trial = None
    store.erase(_KEY)


def undo(store, settings):
    """The deadline has come: the old settings are in force again, whatever flash says."""
    tried, settings.trial = settings.trial, None
    settings.reverted = True
    settings.use(tried.before)
    _undo_stored(store, tried.document["e"], tried.document["v"])


def forget(store):
    """A newer document is about to be stored: a reset must not undo that one."""
    if store.get(_KEY) is not None:
        store.erase(_KEY)


def end_at_boot(store):
    """Undoes a trial that a reset has ended."""
    data = store.get(_KEY)
    if data is None:
        return
    mark = stored.unpacked(data)
    if mark is None:
        store.erase(_KEY)  # nothing that the agent writes
    else:
        _undo_stored(store, mark["e"], mark["v"])


def _undo_stored(store, epoch, version):
    document = stored.load(store)
    if (document["e"], document["v"]) != (epoch, version):
        document["e"], document["v"], document["u"] = epoch, version, 1
        stored.save(store, document)
    store.erase(_KEY)
