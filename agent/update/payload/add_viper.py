# SPDX-License-Identifier: MIT
"""The inner loop of a patch as machine code. `add.py` says when it is used.

The viper compiler takes the name `ptr8` as its own; CPython calls the function below instead, so
that the same bytes run on both.
"""

import micropython


def ptr8(buffer):
    return buffer


@micropython.viper
def add(target, base, count):
    """Adds the first `count` bytes of `base` to those of `target`, each modulo 256."""
    to = ptr8(target)
    old = ptr8(base)
    n = int(count)
    i = 0
    while i < n:
        to[i] = (to[i] + old[i]) & 0xFF
        i += 1
