# SPDX-License-Identifier: MIT
"""The modules of CPython that the board has too, cut down to the names that it has.

Names as `dir()` lists them on the MicroPython unix port. Where CPython is laxer, it is narrowed
(hashes, json, struct's errors); where it is stricter (`[1,]` as JSON), it stays strict: code that
works here works there.
"""

from __future__ import annotations

import array
import binascii
import collections
import hashlib
import heapq
import io
import json
import math
import random
import re
import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .deflate import make_deflate
from .errors import ERRNO

__all__ = ["make_stdlib"]

_PASSED_ON: dict[str, tuple[Any, str]] = {
    "array": (array, "array"),
    "binascii": (binascii, "a2b_base64 b2a_base64 crc32 hexlify unhexlify"),
    "collections": (collections, "OrderedDict deque namedtuple"),
    "heapq": (heapq, "heapify heappop heappush"),
    "re": (re, "compile match search sub"),
    "math": (
        math,
        "acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh degrees e erf erfc exp "
        "expm1 fabs factorial floor fmod frexp gamma inf isclose isfinite isinf isnan ldexp "
        "lgamma log log10 log2 modf nan pi pow radians sin sinh sqrt tan tanh tau trunc",
    ),
}


class Hash:
    """A hash of the board: no hexdigest, no copy, and `digest` ends it."""

    def __init__(self, name: str, data: Any = b"") -> None:
        self._hash: Any = hashlib.new(name, data, usedforsecurity=False)

    def update(self, data: Any) -> None:
        self._open().update(data)

    def digest(self) -> bytes:
        digest = bytes(self._open().digest())
        self._hash = None
        return digest

    def _open(self) -> Any:
        if self._hash is None:
            raise ValueError("hash is final")
        return self._hash


def _hashlib() -> ModuleType:
    module = ModuleType("hashlib")
    for name in ("md5", "sha1", "sha256"):
        maker = type(name, (Hash,), {})
        init = _hash_init(name)
        maker.__init__ = init  # type: ignore[misc]
        setattr(module, name, maker)
    return module


def _hash_init(name: str) -> Callable[..., None]:
    def init(self: Hash, data: Any = b"") -> None:
        Hash.__init__(self, name, data)

    return init


def _no_constant(text: str) -> Any:
    raise ValueError("syntax error in JSON")


def _json() -> ModuleType:
    def dumps(obj: Any, separators: Any = None) -> str:
        return json.dumps(obj, separators=separators, ensure_ascii=False)

    def dump(obj: Any, stream: Any, separators: Any = None) -> None:
        stream.write(dumps(obj, separators))

    def loads(text: Any) -> Any:
        try:
            return json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError:
            raise ValueError("syntax error in JSON") from None

    def load(stream: Any) -> Any:
        return loads(stream.read())

    module = ModuleType("json")
    module.__dict__.update(dumps=dumps, dump=dump, loads=loads, load=load)
    return module


def _struct() -> ModuleType:
    module = ModuleType("struct")
    for name in ("calcsize", "pack", "pack_into", "unpack", "unpack_from"):
        setattr(module, name, _with_value_error(getattr(struct, name)))
    return module


def _with_value_error(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except struct.error as e:
            raise ValueError(str(e)) from None

    return call


def _random(seed: int) -> ModuleType:
    source = random.Random(seed)
    module = ModuleType("random")
    for name in ("choice", "randint", "random", "randrange", "seed", "uniform"):
        setattr(module, name, getattr(source, name))

    def getrandbits(n: int) -> int:
        if not 0 <= n <= 32:
            raise ValueError("bits must be 32 or less")
        return source.getrandbits(n)

    module.__dict__["getrandbits"] = getrandbits
    return module


def _io(open_file: Callable[..., Any]) -> ModuleType:
    class IOBase:
        """What device code derives its own streams from."""

    module = ModuleType("io")
    module.__dict__.update(BytesIO=io.BytesIO, StringIO=io.StringIO, IOBase=IOBase, open=open_file)
    return module


def _errno() -> ModuleType:
    module = ModuleType("errno")
    module.__dict__.update(ERRNO, errorcode={number: name for name, number in ERRNO.items()})
    return module


def make_stdlib(open_file: Callable[..., Any], seed: int) -> dict[str, ModuleType]:
    """Fresh module objects for one life, so that nothing written into them outlives it."""
    modules = {
        "deflate": make_deflate(),
        "errno": _errno(),
        "hashlib": _hashlib(),
        "io": _io(open_file),
        "json": _json(),
        "random": _random(seed),
        "struct": _struct(),
    }
    for name, (source, names) in _PASSED_ON.items():
        module = ModuleType(name)
        for attribute in names.split():
            setattr(module, attribute, getattr(source, attribute))
        modules[name] = module
    return modules
