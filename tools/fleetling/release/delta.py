# SPDX-License-Identifier: MIT
"""Deltas: HPatchLite streams made by `hdiffpatch`, cut so that each frame makes whole sectors.

The stream is HDiffPatch's "lite" format, version 1: see agent/update/payload/patch.py, which
applies it on the board. `apply` here is written apart from it, on whole byte strings, and checks
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, pairwise

from fleetling.errors import FleetlingError

__all__ = ["Cover", "TooDense", "apply", "covers", "cut", "lite", "thin"]

# Zeros to add that are worth a cover of their own, which costs three to five bytes.
PLAIN = 32


class TooDense(FleetlingError):
    """A delta with more bookkeeping than a board's frame holds; the whole image is better."""


@dataclass(frozen=True)
class Cover:
    """A run of the image that resembles a run of the base, and what leads up to it.

    `head` and `literals` are places in the stream; the bytes to add, if any, follow the literals.
    """

    head: int
    literals: int
    literal: int
    length: int
    place: int
    adds: bool


def lite(base: bytes, image: bytes) -> bytes:
    """The HPatchLite stream from `base` to `image`, not compressed."""
    try:
        import hdiffpatch
    except ImportError as e:
        raise FleetlingError(
            "Deltas need the package hdiffpatch.", "pip install 'fleetling[release]'"
        ) from e
    made: bytes = hdiffpatch.diff_lite(base, image, compression=None, validate=True)
    return made


def thin(stream: bytes, size: int, least: int = PLAIN) -> bytes:
    """The same delta without the long runs of zeros to add: they become plain copies.

    Zeros cost next to nothing in one long DEFLATE stream, but something in each frame, and the
    board copies a plain cover without unpacking or adding anything.
    """
    zeros = re.compile(rb"\0{%d,}" % least)
    out, count, last = bytearray(), 0, 0
    for cover in covers(stream, size):
        start = cover.literals + cover.literal
        pieces = [(0, cover.length, b"")]
        if cover.adds:
            added = stream[start : start + cover.length]
            borders = [0, *(at for run in zeros.finditer(added) for at in run.span()), len(added)]
            pieces = [
                (at, end - at, b"" if plain else added[at:end])
                for plain, at, end in zip(cycle((False, True)), borders, borders[1:], strict=False)
                if at < end
            ]
        literals = stream[cover.literals : start]
        for at, length, added in pieces or [(0, 0, b"")]:
            place = cover.place + at
            out += _head(length, place - last, len(literals), plain=not added)
            out += literals + added
            literals, last, count = b"", place + length, count + 1
    width = stream[3] & 7
    return stream[: 4 + width] + _pack(count) + bytes(out)


def _head(length: int, distance: int, literal: int, *, plain: bool) -> bytes:
    tag = (0x80 if plain else 0) | (0x40 if distance < 0 else 0)
    distance = abs(distance)
    short = distance < 0x20
    middle = bytes([tag | distance]) if short else bytes([tag | 0x20]) + _pack(distance)
    return _pack(length) + middle + _pack(literal)


def _pack(number: int) -> bytes:
    out = [number & 0x7F]
    while number := number >> 7:
        out.append(0x80 | number & 0x7F)
    return bytes(reversed(out))


def covers(stream: bytes, size: int) -> Iterator[Cover]:
    """Walks the stream for an image of `size` bytes.

    Raises:
        FleetlingError: it is not such a stream.
    """
    try:
        yield from _covers(stream, size)
    except IndexError as e:
        raise FleetlingError("The delta's stream is too short.") from e


def _covers(stream: bytes, size: int) -> Iterator[Cover]:
    width = stream[3] & 7
    at = 4 + width
    if stream[:3] != b"hI\0" or stream[3] >> 3 != 8 or at > len(stream):
        raise FleetlingError("The delta is not an HPatchLite stream.")
    if int.from_bytes(stream[4:at], "little") != size:
        raise FleetlingError("The delta is for an image of another size.")
    count, at = _number(stream, at)
    place = done = 0
    for _ in range(count):
        head = at
        length, at = _number(stream, at)
        tag = stream[at]
        distance, at = _number(stream, at + 1, tag & 0x1F, more=bool(tag & 0x20))
        place += -distance if tag & 0x40 else distance
        literal, at = _number(stream, at)
        cover = Cover(head, at, literal, length, place, not tag & 0x80)
        yield cover
        at += literal + (length if cover.adds else 0)
        place += length
        done += literal + length
    if done != size or at != len(stream):
        raise FleetlingError("The delta's stream does not end with its image.")


def _number(stream: bytes, at: int, value: int = 0, *, more: bool = True) -> tuple[int, int]:
    while more:
        value = value << 7 | stream[at] & 0x7F
        more = bool(stream[at] & 0x80)
        at += 1
    return value, at


def cut(stream: bytes, size: int, frame: int) -> list[bytes]:
    """Cuts the stream where the image reaches each multiple of `frame` bytes.

    A cover's head belongs to the frame of the first byte that it makes, as the board reads a
    head only when it needs one.
    """
    cuts, done, border = [0], 0, frame
    for cover in covers(stream, size):
        for start, length, shift in (
            (cover.literals, cover.literal, 1),
            (cover.literals + cover.literal, cover.length, int(cover.adds)),
        ):
            while border < size and border <= done + length:
                cuts.append(start + (border - done) * shift)
                border += frame
            done += length
    cuts.append(len(stream))
    return [stream[start:end] for start, end in pairwise(cuts)]


def apply(stream: bytes, base: bytes, size: int) -> bytes:
    """Makes the image of `size` bytes.

    Raises:
        FleetlingError: the stream is malformed, or reaches outside of `base`.
    """
    out = bytearray()
    for cover in covers(stream, size):
        out += stream[cover.literals : cover.literals + cover.literal]
        if not 0 <= cover.place <= len(base) - cover.length:
            raise FleetlingError("The delta reaches outside of its base.")
        old = base[cover.place : cover.place + cover.length]
        if cover.adds:
            start = cover.literals + cover.literal
            added = stream[start : start + cover.length]
            old = bytes((a + b) & 0xFF for a, b in zip(old, added, strict=False))
        out += old
    return bytes(out)
