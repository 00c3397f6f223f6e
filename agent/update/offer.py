# SPDX-License-Identifier: MIT
"""What a target's signed `custom` says of it, each field with its type (docs/updates.md).

No I/O. Loaded while the repository is asked.
"""

from binascii import unhexlify

from micropython import const

from agent.errors import Refused

KINDS = ("app", "firmware")
_IMAGE_MOST = const(0x1000000)
_NUMBERS = const(4)
_DIGITS = const(5)
_MINIMA = ("micropython", "agent", "app", "firmware")


def read(target, url):
    """The offer: `custom`'s fields, with `path`, `url` and `length` of the payload; or Refused.

    `target` is what tuf.client.find gives.
    """
    custom = target["custom"]
    if not isinstance(custom, dict):
        raise Refused("update-custom", target["path"])
    offer = {"path": target["path"], "url": url, "length": target["length"]}
    kind = custom.get("kind")
    if kind not in KINDS:
        raise Refused("update-custom", "kind")
    offer["kind"] = kind
    for key in ("security", "size", "built", "bytes"):
        value = custom.get(key, 0 if kind == "firmware" and key == "bytes" else None)
        if type(value) is not int or not 0 <= value < 0x80000000:
            if key != "built" or type(value) is not int or not 0 <= value <= 0xFFFFFFFF:
                raise Refused("update-custom", key)
        offer[key] = value
    if not 0 < offer["size"] <= _IMAGE_MOST:
        raise Refused("update-custom", "size")
    offer["version"] = custom.get("version")
    version(offer["version"])
    offer["sha256"] = _digest(custom.get("sha256"), "sha256")
    offer["base"] = _digest(custom["base"], "base") if "base" in custom else None
    offer["requires"] = _requires(custom.get("requires", {}))
    for key, default in (("chip", ""), ("boards", []), ("machines", []), ("mpy", None)):
        value = custom.get(key, default)
        if default is not None and not isinstance(value, type(default)):
            raise Refused("update-custom", key)
        offer[key] = value
    return offer


def version(text):
    """(1, 2, 0, 0) of "1.2": at most four numbers; Refused when it is not a version."""
    parts = text.split(".") if isinstance(text, str) else ()
    if not 0 < len(parts) <= _NUMBERS:
        raise Refused("update-version", str(text)[:20])
    for part in parts:
        if not 0 < len(part) <= _DIGITS or any([not "0" <= c <= "9" for c in part]):
            raise Refused("update-version", text[:20])
    return tuple([int(part) for part in parts] + [0] * (_NUMBERS - len(parts)))


def _digest(text, key):
    """The 64 hex digits, if they are that."""
    try:
        if isinstance(text, str) and len(text) == 64 and len(unhexlify(text)) == 32:
            return text.lower()
    except ValueError:
        pass
    raise Refused("update-custom", key)


def _requires(found):
    if not isinstance(found, dict):
        raise Refused("update-custom", "requires")
    for name in found:
        if name not in _MINIMA:
            raise Refused("update-custom", "requires")
        version(found[name])
    return found
