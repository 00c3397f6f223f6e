# SPDX-License-Identifier: MIT
"""Whether a board can resolve an application's imports: found on the bench, not in the field.

An import inside `try` that catches ImportError may fail, and is not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["STOCK", "Missing", "missing_imports"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Built in or frozen in MicroPython's official ESP32 builds from 1.24 on. Those of one kind of chip
# or of custom firmware are named with `--provides`.
STOCK = _words(
    "__main__ _asyncio _boot _espnow _onewire _thread _webrepl aioespnow apa106 array asyncio "
    "binascii bluetooth btree builtins cmath collections cryptolib deflate dht ds18x20 errno "
    "esp esp32 espnow flashbdev framebuf gc hashlib heapq inisetup io json machine math "
    "micropython mip neopixel network ntptime onewire os platform random re requests select "
    "socket ssl struct sys time tls uasyncio uctypes umqtt upysh urequests vfs webrepl "
    "webrepl_setup websocket "
)
# MicroPython finds these under their old names, too.
_WITH_U = _words(
    "uarray ubinascii ubluetooth ucollections ucryptolib uerrno uhashlib uheapq uio ujson "
    "umachine uos uplatform urandom ure uselect usocket ussl ustruct usys utime uwebsocket "
)
_CATCH = ("ImportError", "Exception", "BaseException", "ModuleNotFoundError")


@dataclass(frozen=True)
class Missing:
    """An import that finds nothing; `name` is the module's."""

    file: str
    line: int
    name: str


def missing_imports(
    files: Mapping[str, bytes], paths: Collection[str], provides: Collection[str] = ()
) -> list[Missing]:
    """The imports that resolve neither in the slot nor in stock firmware.

    Args:
        files: the sources to look at, by path.
        paths: all that is in the slot.
        provides: more modules of the boards' firmware.

    Raises:
        SyntaxError: a source is not Python.
    """
    inside = _modules(paths)
    outside = STOCK | _WITH_U | set(provides)
    found = []
    for path, source in sorted(files.items()):
        for line, name in _imports(ast.parse(source, path), path):
            first = name.partition(".")[0]
            if name not in inside and (first in inside or first not in outside):
                found.append(Missing(path, line, name))
    return found


def _modules(paths: Collection[str]) -> set[str]:
    """Modules and packages by their dotted names; a folder is a package."""
    found = set()
    for path in paths:
        parts = path.split("/")
        stem, dot, ending = parts[-1].rpartition(".")
        if not dot or ending not in ("py", "mpy"):
            continue
        parts = parts[:-1] if stem == "__init__" else [*parts[:-1], stem]
        found |= {".".join(parts[: end + 1]) for end in range(len(parts))}
    return found


def _imports(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    for node in _outside_of_attempts(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = path.split("/")[: -node.level] if node.level else []
            name = ".".join([*package, *([node.module] if node.module else [])])
            if name:
                yield node.lineno, name
            if node.level and not node.module:
                for alias in node.names:
                    yield node.lineno, ".".join([*package, alias.name])


def _outside_of_attempts(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, ast.Try) and any(_catches(each) for each in child.handlers):
            for part in (*child.handlers, *child.orelse, *child.finalbody):
                yield from _outside_of_attempts(part)
        else:
            yield from _outside_of_attempts(child)


def _catches(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    names = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(
        name is None or (isinstance(name, ast.Name) and name.id in _CATCH) for name in names
    )
