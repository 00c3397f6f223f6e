# SPDX-License-Identifier: MIT
"""Chooses the machine-code loop where this interpreter takes it, else the plain one.

SyntaxError: the source, on a port without an emitter. ValueError: a .mpy for another processor.
ImportError: a build that left the file out.
"""

try:
    from agent.update.payload.add_viper import add
except (ImportError, SyntaxError, ValueError):
    from agent.update.payload.add_plain import add

__all__ = ("add",)
