# SPDX-License-Identifier: MIT
# ruff: noqa: T201 - the MicroPython subset, and its output is the answer
"""What `ecdsa-verify` runs on MicroPython: verdicts, one for each line.

A line comes behind its length in eight hexadecimal digits.
"""

import json
import sys
from binascii import unhexlify
from hashlib import sha256

HERE = __file__.rpartition("/")[0]
sys.path.insert(0, HERE + "/../..")

from agent.crypto import der, p256  # noqa: E402
from agent.errors import Refused  # noqa: E402


def verdict(line):
    try:
        case = json.loads(line)
        key, message, signature = [unhexlify(case[name]) for name in ("key", "msg", "sig")]
        point = der.read_key(key) if key[:1] == b"\x30" else key
    except (AttributeError, KeyError, MemoryError, Refused, RuntimeError, TypeError, ValueError):
        return False  # RuntimeError: nested too deep
    return p256.verify(point, sha256(message).digest(), signature)


def main():
    source = sys.stdin.buffer
    while True:
        length = source.read(8)
        if not length:
            break
        print("valid" if verdict(source.read(int(length, 16))) else "invalid")


main()
