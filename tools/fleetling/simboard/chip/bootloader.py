# SPDX-License-Identifier: MIT
"""The second-stage bootloader: chooses the app slot, and writes to otadata while doing so.

As in ESP-IDF 5, with app rollback built in: every PENDING_VERIFY entry becomes ABORTED; then the
active entry, when NEW, becomes PENDING_VERIFY. So a new image has one boot to confirm itself. With
nothing in otadata the factory app runs or, where there is none, ota_0, which is then written down
as sequence 1, VALID. An image that does not verify is passed over: first the slots before it down
to factory, then the ones after it.
"""

from . import image, table
from .otadata import ABORTED, NEW, PENDING_VERIFY, VALID, Otadata


class Bricked(Exception):
    """No slot holds a bootable image; the real bootloader resets for ever."""


def select(flash, entries, rollback=True, thorough=True, family="ESP32"):
    """The label of the app partition that runs. `thorough` as in image.verify."""
    slots = table.ota_slots(entries)
    factory = table.first(entries, table.TYPE_APP, table.SUBTYPE_FACTORY)
    region = table.first(entries, table.TYPE_DATA, table.SUBTYPE_OTADATA)
    otadata = Otadata(flash, region) if region else None
    start = _first_choice(otadata, slots, factory, rollback) if otadata else -1
    for index in list(range(start, -2, -1)) + list(range(start + 1, len(slots))):
        entry = factory if index < 0 else slots[index] if index < len(slots) else None
        if entry and _bootable(flash, entry, thorough, family):
            if index >= 0 and not factory and otadata and _untouched(otadata):
                otadata.forget_label(0)
                otadata.set_sequence(0, index + 1, VALID)
            return entry[4]
    raise Bricked("no bootable app partition")


def _first_choice(otadata, slots, factory, rollback):
    """Index of the slot to try first, -1 for factory."""
    if rollback:
        for i in (0, 1):
            if otadata.states[i] == PENDING_VERIFY:
                otadata.set_state(i, ABORTED)
    if not slots or (otadata.refused(0) and otadata.refused(1)):
        return -1 if factory or not slots else 0
    active = otadata.active()
    if active is None:
        return -1
    if rollback and otadata.states[active] == NEW:
        otadata.set_state(active, PENDING_VERIFY)
    return (otadata.sequences[active] - 1) % len(slots)


def _untouched(otadata):
    for i in (0, 1):
        if not (otadata.blank(i) and otadata.refused(i)):
            return False
    return True


def _bootable(flash, entry, thorough, family):
    try:
        image.verify(flash, entry[2], entry[3], family, thorough)
        return True
    except image.BadImage:
        return False
