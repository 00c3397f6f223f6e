# SPDX-License-Identifier: MIT
"""The inner loop of a patch for interpreters without a native code emitter."""


def add(target, base, count):
    """Adds the first `count` bytes of `base` to those of `target`, each modulo 256."""
    for i in range(count):
        target[i] = (target[i] + base[i]) & 0xFF
