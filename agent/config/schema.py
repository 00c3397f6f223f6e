# SPDX-License-Identifier: MIT
"""What can be set: a table from name to (kind, default, least, greatest, choices, flags).

For numbers `least` and `greatest` bound the value, for text its length in characters, for a list
the number of its items. The application's own settings come from its manifest, in the same words
(docs/settings.md), and are called "app.<name>". Loaded to check a change, and released.
"""

from micropython import const

SECRET = const(1)  # never reported
RISKY = const(2)  # may cut the board off: a change is a trial
READ_ONLY = const(4)  # only the flashing tool sets it

_FLAGS = (("secret", 1), ("risky", 2), ("read_only", 4))
_KINDS = ("int", "float", "bool", "str", "list")
_WORDS = ("type", "default", "least", "greatest", "longest", "choices", "secret", "risky")
_SMALLEST = const(-0x80000000)
_LARGEST = const(0x7FFFFFFF)
_ITEM = const(64)  # characters of a list's item
_TEXT = const(128)  # characters, where an application does not say
_APPLICATION = const(32)  # settings that an application may have
_NAME = const(24)  # characters of an application's setting
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"

AGENT = {
    "wifi": ("wifi", [], 1, 4, None, 3),
    "broker": ("endpoint", "", 3, 96, None, 2),
    "ntp": ("str", "pool.ntp.org", 1, 64, None, 0),
    "heartbeat_s": ("float", 60, 0.1, 86400, None, 0),
    "reconnect_s": ("int", 300, 0, 3600, None, 0),
    "name": ("str", "", 0, 32, None, 0),
    "location": ("str", "", 0, 64, None, 0),
    "role": ("str", "", 0, 16, None, 0),
    "groups": ("list", [], 0, 16, None, 0),
    "log_level": ("str", "I", 0, 1, ("D", "I", "W", "E"), 0),
    "window": ("window", "", 0, 11, None, 0),
    "trial_s": ("int", 600, 15, 3600, None, 0),
    "limit_heap": ("int", 8192, 0, 0x3FFFFFFF, None, 0),
    "limit_storage": ("int", 32768, 0, 0x3FFFFFFF, None, 0),
    "limit_lag_ms": ("int", 5000, 0, 60000, None, 0),
    "limit_temp_c": ("int", 90, 0, 150, None, 0),
    "button_pin": ("int", -1, -1, 48, None, 0),
    "button_hold_s": ("int", 5, 1, 30, None, 0),
    "button_level": ("str", "config", 0, 8, ("config", "app", "identity"), 0),
    "led_pin": ("int", -1, -1, 48, None, 0),
}


def check(table, name, value):
    """None when a document may set `name` to `value`, or the code that says why not."""
    entry = table.get(name)
    if entry is None:
        return "setting-unknown"
    if entry[5] & READ_ONLY:
        return "setting-read-only"
    return check_value(entry, value)


def check_value(entry, value):
    """None, or a code. NaN and infinity are no numbers here, because JSON has none."""
    kind, _, least, greatest, choices, _ = entry
    if not _CHECKS[kind](value):
        return "setting-type"
    if kind in ("int", "float"):
        if not least <= value <= greatest:
            return "setting-range"
    elif kind != "bool" and not least <= len(value) <= greatest:
        return "setting-length"
    if choices is not None and value not in choices:
        return "setting-choice"
    if kind == "list" and any([len(item) > _ITEM for item in value]):
        return "setting-length"
    return None


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(value):
    if isinstance(value, float):
        return value - value == 0  # not so for NaN and infinity
    return _is_int(value)


def _is_text(value):
    """Text without control characters and without halves of surrogate pairs (no UTF-8)."""
    if not isinstance(value, str):
        return False
    return all([" " <= c and not 0xD800 <= ord(c) <= 0xDFFF for c in value])


def _is_list(value):
    return isinstance(value, list) and all([_is_text(item) for item in value])


def _is_wifi(value):
    """[[ssid, password], ...]: 1 to 32 bytes; none, or 8 to 64 (IEEE 802.11-2020, J.4.1)."""
    if not isinstance(value, list):
        return False
    for pair in value:
        if not (_is_list(pair) and len(pair) == 2):
            return False
        ssid, password = [len(text.encode()) for text in pair]
        if not (1 <= ssid <= 32 and (password == 0 or 8 <= password <= 64)):
            return False
    return True


def _is_endpoint(value):
    if not _is_text(value):
        return False
    host, _, port = value.rpartition(":")
    return bool(host) and _digits(port, 1, 65535)


def _is_window(value):
    """ "HH:MM-HH:MM", or empty."""
    if value == "":
        return True
    if not isinstance(value, str) or len(value) != 11 or value[5] != "-":
        return False
    for time in (value[:5], value[6:]):
        if time[2] != ":" or not (_digits(time[:2], 0, 23) and _digits(time[3:], 0, 59)):
            return False
    return True


def _digits(text, least, greatest):
    if not 1 <= len(text) <= 5 or any([c not in "0123456789" for c in text]):
        return False
    return least <= int(text) <= greatest


_CHECKS = {
    "int": _is_int,
    "float": _is_float,
    "bool": lambda value: isinstance(value, bool),
    "str": _is_text,
    "list": _is_list,
    "wifi": _is_wifi,
    "endpoint": _is_endpoint,
    "window": _is_window,
}


def table(application=None):
    """(table, names refused): the agent's settings and the application's, which a manifest gives
    as {name: {"type": ..., "default": ...}}. One that makes no sense is left out."""
    made = dict(AGENT)
    refused = []
    if application is None:
        return made, refused
    if not isinstance(application, dict):
        return made, ["settings"]
    for name in sorted(application):
        entry = _entry(application[name])
        if entry is None or not _is_name(name) or len(made) - len(AGENT) >= _APPLICATION:
            refused.append(name)
        else:
            made["app." + name] = entry
    return made, refused


def _is_name(name):
    return 1 <= len(name) <= _NAME and all([c in _LETTERS for c in name])


def _entry(words):
    """The table's entry for one setting of a manifest, or None."""
    if not isinstance(words, dict) or words.get("type") not in _KINDS or "default" not in words:
        return None
    if any([word not in _WORDS and word != "read_only" for word in words]):
        return None
    kind = words["type"]
    number = kind in ("int", "float")
    if number:
        least, greatest = words.get("least", _SMALLEST), words.get("greatest", _LARGEST)
    else:
        least, greatest = 0, words.get("longest", 16 if kind == "list" else _TEXT)
    choices = words.get("choices")
    flags = 0
    for word, flag in _FLAGS:
        given = words.get(word, False)
        if not isinstance(given, bool):
            return None
        flags |= flag if given else 0
    if not (_is_float(least) and _is_float(greatest)):
        return None
    if choices is not None and not isinstance(choices, list):
        return None
    entry = (kind, words["default"], least, greatest, choices, flags)
    return None if check_value(entry, words["default"]) else entry


def describe(table):
    """The table in the words of a manifest, for who wants to check before sending."""
    made = {}
    for name in table:
        kind, default, least, greatest, choices, flags = table[name]
        words = made[name] = {"type": kind, "default": None if flags & SECRET else default}
        if kind in ("int", "float"):
            words["least"], words["greatest"] = least, greatest
        elif kind != "bool":
            words["longest"] = greatest
        if choices is not None:
            words["choices"] = list(choices)
        for word, flag in _FLAGS:
            if flags & flag:
                words[word] = True
    return made
