# SPDX-License-Identifier: MIT
"""What the flashing tool gave the board: id, trust anchor, endpoints, and a claim or an identity.

Refused, with a code that says which value is at fault. Stock firmware may erase all of NVS by
itself, so what is needed to find home again has a copy in a file; the claim is not in it, because
it is of no use twice. Loaded once, at the start.
"""

import struct

from micropython import const

from agent.errors import AgentError, Refused
from agent.identity.keyring import Identity
from agent.storage import files, records

_PATH = "/fl/factory"
_COPIED = ("id", "ca", "broker", "wifi", "ntp", "repo", "root", "conf", "crt", "key")
_HEAD = ">BH"
_HEAD_SIZE = const(3)
_ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"


class Copy:
    """The file's values, where the NVS namespace fl_factory is gone."""

    def __init__(self, values):
        self._values = values

    def get(self, key):
        return self._values.get(key)


def source(nvs, log, path=_PATH):
    """Where to read from: `nvs`, whose copy is brought up to date, or the copy if NVS is empty."""
    try:
        kept = files.read(path)
        if nvs.get("id") is not None:
            wanted = records.pack(1, _pack(nvs))
            if wanted != kept:
                files.replace(path, wanted)
            return nvs
    except AgentError as e:
        log.error("identity", e.code)
        return nvs
    found = records.unpack(kept)
    if found is None:
        return nvs
    log.warning("identity", "NVS is empty; taken from " + path)
    return Copy(_unpack(found[1]))


def _pack(nvs):
    parts = []
    for key in _COPIED:
        value = nvs.get(key)
        if value is not None:
            parts += [struct.pack(_HEAD, len(key), len(value)), key.encode(), value]
    return b"".join(parts)


def _unpack(data):
    values = {}
    at = 0
    while at < len(data):
        key, value = struct.unpack_from(_HEAD, data, at)
        at += _HEAD_SIZE
        values[data[at : at + key].decode()] = data[at + key : at + key + value]
        at += key + value
    return values


def check_id(data):
    """The device id as text: 1 to 32 of a-z, 0-9 and "-"."""
    text = "".join([chr(byte) for byte in data])
    if not 1 <= len(text) <= 32 or any([c not in _ID_CHARACTERS for c in text]):
        raise Refused("identity-id")
    return text


def check_endpoint(data):
    """(host, port) of "host:port"."""
    try:
        host, port = data.decode().rsplit(":", 1)
        number = int(port)
    except (ValueError, UnicodeError):
        raise Refused("identity-broker")
    if not host or not 0 < number < 65536:
        raise Refused("identity-broker")
    return host, number


def check_der(data, code):
    """`data` if it is one DER SEQUENCE of exactly its own length (X.690, 8.1.3)."""
    if data and len(data) > 4 and data[0] == 0x30:
        if data[1] < 0x80:
            length = 2 + data[1]
        elif data[1] == 0x81:
            length = 3 + data[2]
        elif data[1] == 0x82:
            length = 4 + (data[2] << 8 | data[3])
        else:
            length = -1
        if length == len(data):
            return data
    raise Refused(code)


def load(values):
    """(the board's identity, its claim), each an `Identity` or None.

    The board's own has no certificate where it was given none: it has to ask for one. Both are
    None on a board that was never provisioned.
    """
    stored_id = values.get("id")
    if stored_id is None:
        return None, None
    device_id = check_id(stored_id)
    own = Identity(
        device_id,
        check_der(values.get("ca"), "identity-ca"),
        check_endpoint(values.get("broker") or b""),
    )
    if values.get("crt") is not None or values.get("key") is not None:
        return _with_keys(own, values, ""), None
    if values.get("claim_crt") is None:
        return own, None  # what a claim once led to may be in the vault
    door = check_endpoint(values.get("enrol") or b"")
    return own, _with_keys(Identity("claim-" + device_id, own.ca, door), values, "claim_")


def _with_keys(identity, values, prefix):
    return identity.having(
        check_der(values.get(prefix + "crt"), "identity-certificate"),
        check_der(values.get(prefix + "key"), "identity-key"),
    )
