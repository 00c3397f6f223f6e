# SPDX-License-Identifier: MIT
"""The identity that the board was given: id, trust anchor, endpoint, certificate and key.

Pure: takes the values of NVS, gives an `Identity` or raises Refused with a code that says which of
them is at fault.
"""

from agent.errors import Refused

_ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"


class Identity:
    def __init__(self, device_id, ca, host, port, certificate, key):
        self.id = device_id
        self.ca = ca
        self.host = host
        self.port = port
        self.certificate = certificate
        self.key = key


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


def load(nvs):
    """The identity in namespace `fl_factory`, or None when the board was never provisioned."""
    stored_id = nvs.get("id")
    if stored_id is None:
        return None
    host, port = check_endpoint(nvs.get("broker") or b"")
    return Identity(
        check_id(stored_id),
        check_der(nvs.get("ca"), "identity-ca"),
        host,
        port,
        check_der(nvs.get("crt"), "identity-certificate"),
        check_der(nvs.get("key"), "identity-key"),
    )
