# SPDX-License-Identifier: MIT
"""Which application runs. Loaded to say so: by the birth document, and by a crash record."""

import binascii

from micropython import const

_LONGEST = const(32)
_HEAD = const(
    96
)  # of a pack: magic, the manifest's length and CRC-32, and how the manifest begins


def application(slot):
    """[version, CRC-32 of the manifest in hex] of the slot "a", "b" or "factory"; both "" where
    there is none. The CRC tells two builds of one version apart."""
    try:
        with open("/slots/" + slot + ".pack", "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return ["", ""]
    _, found, rest = head.partition(b'"version":"')
    if not found:
        return ["", ""]
    version = rest.split(b'"')[0].decode()[:_LONGEST]
    return [version, binascii.hexlify(bytes(reversed(head[8:12]))).decode()]
