# SPDX-License-Identifier: MIT
"""OSError as the board raises it: one number as only argument, and in `errno`.

The numbers are newlib's, as the ESP32 port has them; they differ from Linux above 100.
"""

from __future__ import annotations

import builtins
from typing import Any

__all__ = ["ERRNO", "BoardError", "error_number", "error_text"]

ERRNO = {
    "EPERM": 1,
    "ENOENT": 2,
    "EIO": 5,
    "EBADF": 9,
    "EAGAIN": 11,
    "ENOMEM": 12,
    "EACCES": 13,
    "EEXIST": 17,
    "ENODEV": 19,
    "EISDIR": 21,
    "EINVAL": 22,
    "EOPNOTSUPP": 95,
    "ECONNRESET": 104,
    "ENOBUFS": 105,
    "ECONNREFUSED": 111,
    "EADDRINUSE": 112,
    "ECONNABORTED": 113,
    "ETIMEDOUT": 116,
    "EHOSTUNREACH": 118,
    "EINPROGRESS": 119,
    "EALREADY": 120,
    "ENOTCONN": 128,
}
_NAMES = {number: name for name, number in ERRNO.items()}


class BoardError(builtins.OSError):
    """An OSError with a number alone; CPython leaves `errno` empty then, the board does not."""

    def __new__(cls, number: int) -> BoardError:
        return builtins.OSError.__new__(cls, number)

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.errno = number

    def __str__(self) -> str:
        return error_text(self)

    def __repr__(self) -> str:
        return f"OSError({self.errno},)"


def error_text(error: BaseException) -> str:
    """What MicroPython's `str(error)` gives."""
    args = error.args
    if not args:
        return ""
    if len(args) > 1:
        return str(args)
    if isinstance(error, builtins.OSError) and args[0] in _NAMES:
        return f"[Errno {args[0]}] {_NAMES[args[0]]}"
    return str(args[0])


def error_number(thing: Any) -> Any:
    """What `thing.errno` gives on the board: the first argument of every OSError."""
    if isinstance(thing, builtins.OSError) and thing.errno is None:
        return thing.args[0] if thing.args else None
    return thing.errno
