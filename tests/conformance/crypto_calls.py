# SPDX-License-Identifier: MIT
# ruff: noqa: T201 - the MicroPython subset, and its output is the answer
"""Calls functions of the board's crypto on MicroPython, for tests that run on the host.

Each line on standard input is JSON, `[module, function, argument, ...]`, where a string argument
that starts with `hex:` stands for bytes. Each is answered by JSON: the result, bytes in hex, a
generator run to its end; or `["refused", code]`.
"""

import json
import sys
from binascii import hexlify, unhexlify

HERE = __file__.rpartition("/")[0]
sys.path.insert(0, HERE + "/../..")

from agent.crypto import csr, ed25519, p256, rsa, sign, x509  # noqa: E402
from agent.crypto.steps import finish  # noqa: E402
from agent.errors import Refused  # noqa: E402


class Ed25519:
    """`verify_steps` of the module, for a message in one piece."""

    @staticmethod
    def verify_steps(public, message, signature):
        def feed(update):
            update(message)
            yield

        return ed25519.verify_steps(public, signature, feed)


MODULES = {"csr": csr, "ed25519": Ed25519, "p256": p256, "rsa": rsa, "sign": sign, "x509": x509}


def argument(value):
    if isinstance(value, str) and value[:4] == "hex:":
        return unhexlify(value[4:])
    return value


def answer(module, function, *args):
    try:
        result = getattr(MODULES[module], function)(*[argument(value) for value in args])
        if function.endswith("_steps"):
            result = finish(result)
        elif module == "x509":
            result = [result.name, result.not_before, result.not_after]
    except Refused as e:
        return ["refused", e.code]
    except ValueError:
        return ["refused", "ValueError"]
    return hexlify(result).decode() if isinstance(result, bytes) else result


while True:
    line = sys.stdin.readline()
    if not line:
        break
    print(json.dumps(answer(*json.loads(line))))
