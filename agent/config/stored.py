# SPDX-License-Identifier: MIT
"""The settings document on flash: JSON {"v": version, "e": epoch, "c": {name: value}} in a record.

"c" holds what differs from the base, and what a newer or older release may read; "u" is there
when that version was tried and undone.
"""

import json

from micropython import const

from agent.storage import records

_NAME = "conf"
# Bytes of JSON of what is set. A record (512, nvsmap) has room for it under any version and epoch,
# so that an undoing, which changes nothing but these, always fits.
_LARGEST = const(440)


def packed(document):
    return records.pack(1, text(document))


def unpacked(data):
    found = records.unpack(data)
    return _read(found[1], "until") if found else None


def text(document):
    return json.dumps(document, separators=(",", ":")).encode()


def load(store):
    """The document; an empty one where there is none."""
    return _read(records.Record(store, _NAME).load(), "c") or {"v": -1, "e": "", "c": {}}


def _read(data, word):
    try:
        found = json.loads(data) if data else None
    except ValueError:
        return None
    if not isinstance(found, dict) or any([key not in found for key in ("v", "e", word)]):
        return None  # another program's record
    return found


def save(store, document):
    records.Record(store, _NAME).save(text(document))


def fits(config):
    return len(text(config)) <= _LARGEST


def seen(settings, document):
    settings.seen = (document["e"], document["v"])
    settings.reverted = "u" in document
