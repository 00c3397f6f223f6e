# SPDX-License-Identifier: MIT
"""JSON read where it lies: the bytes stay the only copy, a reader takes the few values it needs.

A tree of objects for a 32 KB targets file takes more heap than a board has beside a TLS
connection. So every function here takes the bytes of a document that passed `grammar.check`, and
the position of a value in it.

Invariants:
- whatever the bytes are, the only exception is Refused("tuf-format");
- work and heap are bounded by the length of the document; nothing recurses;
- a name that stands twice in an object is refused by `canonical` and, if wanted, by `fields`.
"""

import json

from micropython import const

from agent.errors import Refused

_QUOTE = const(34)
_COMMA = const(44)
_MINUS = const(45)
_LIST = const(91)
_LIST_END = const(93)
_OBJECT = const(123)
_OBJECT_END = const(125)


def refuse(detail):
    raise Refused("tuf-format", detail)


def members(data, at):
    """Yields (name, position of the value) for the object at `at`."""
    if data[at] != _OBJECT:
        refuse("not an object")
    at = blank(data, at + 1)
    while data[at] != _OBJECT_END:
        name = text(data, at)
        at = blank(data, blank(data, string_end(data, at)) + 1)
        yield name, at
        at = blank(data, skip(data, at))
        if data[at] == _COMMA:
            at = blank(data, at + 1)


def elements(data, at):
    """Yields the position of each value in the list at `at`."""
    if data[at] != _LIST:
        refuse("not a list")
    at = blank(data, at + 1)
    while data[at] != _LIST_END:
        yield at
        at = blank(data, skip(data, at))
        if data[at] == _COMMA:
            at = blank(data, at + 1)


def fields(data, at, names):
    """The positions of those members of the object at `at` whose names stand in `names`."""
    found = {}
    for name, value in members(data, at):
        if name in names:
            if name in found:
                refuse("twice: " + name)
            found[name] = value
    return found


def text(data, at, longest=0):
    """The string at `at`. `longest`: in characters, where it matters."""
    if data[at] != _QUOTE:
        refuse("not a string")
    end = string_end(data, at)
    raw = data[at + 1 : end - 1]
    try:
        if b"\\" in raw:
            raw = _unescaped(raw)
        value = str(raw, "utf-8")
    except ValueError:
        refuse("not UTF-8")
    if longest and len(value) > longest:
        refuse("string too long")
    return value


def integer(data, at, least):
    """The integer at `at`, `least` or more."""
    c = data[at]
    if c != _MINUS and not 48 <= c <= 57:
        refuse("not a number")
    value = int(str(data[at : skip(data, at)], "utf-8"))
    if value < least:
        refuse("number too small")
    return value


def boolean(data, at):
    c = data[at]
    if c != 116 and c != 102:  # t, f
        refuse("not true or false")
    return c == 116


def plain(data, at):
    """The value at `at` as Python objects, for small ones."""
    try:
        return json.loads(str(data[at : skip(data, at)], "utf-8"))
    except ValueError:
        refuse("not JSON")


def skip(data, at):
    """The position behind the value at `at`."""
    c = data[at]
    if c == _QUOTE:
        return string_end(data, at)
    if c != _OBJECT and c != _LIST:
        return word_end(data, at)
    depth = 0
    while True:
        if c == _QUOTE:
            at = string_end(data, at)
        else:
            at += 1
            if c == _OBJECT or c == _LIST:
                depth += 1
            elif c == _OBJECT_END or c == _LIST_END:
                depth -= 1
                if not depth:
                    return at
        c = data[at]


def blank(data, at):
    """The position of the next byte that is not white space."""
    end = len(data)
    while at < end:
        c = data[at]
        if c != 32 and c != 10 and c != 13 and c != 9:
            break
        at += 1
    return at


def string_end(data, at):
    """The position behind the string whose opening quote stands at `at`."""
    at += 1
    while True:
        quote = data.find(b'"', at)
        if quote < 0:
            refuse("string ends early")
        escape = data.find(b"\\", at, quote)
        if escape < 0:
            return quote + 1
        at = escape + 2


def word_end(data, at):
    while at < len(data) and (data[at] == _MINUS or 48 <= data[at] <= 57 or 97 <= data[at] <= 122):
        at += 1
    return at


def _unescaped(raw):
    """`raw` with its escapes resolved, as UTF-8. ValueError where that cannot be."""
    out = bytearray()
    at = 0
    while True:
        escape = raw.find(b"\\", at)
        if escape < 0:
            out.extend(raw[at:])
            return bytes(out)
        out.extend(raw[at:escape])
        letter = raw[escape + 1 : escape + 2]
        at = escape + 2
        if letter == b"u":
            point = _hex4(raw, at)
            at += 4
            if 0xD800 <= point < 0xDC00 and raw[at : at + 2] == b"\\u":
                low = _hex4(raw, at + 2)
                at += 6
                if not 0xDC00 <= low < 0xE000:
                    raise ValueError
                point = 0x10000 + ((point - 0xD800) << 10) + low - 0xDC00
            if 0xD800 <= point < 0xE000:
                raise ValueError  # half a pair cannot be written in UTF-8
            out.extend(chr(point).encode())
        else:
            which = b'"\\/bfnrt'.find(letter)
            if which < 0 or not letter:
                raise ValueError
            out.append(b'"\\/\b\f\n\r\t'[which])


def _hex4(raw, at):
    digits = raw[at : at + 4]
    if len(digits) != 4:
        raise ValueError
    for c in digits:
        if c not in b"0123456789abcdefABCDEF":
            raise ValueError
    return int(str(digits, "utf-8"), 16)
