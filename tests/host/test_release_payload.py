# SPDX-License-Identifier: MIT
"""The writer of payloads: the same bytes each time, and nothing that does not read back."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from contextlib import suppress

import pytest
from firmware_pairs import edited, grown, like_firmware

from fleetling.errors import FleetlingError
from fleetling.release import delta
from fleetling.release.payload import (
    FRAME,
    HEADER_SIZE,
    Kind,
    best,
    pack,
    read_header,
    unpack,
)

BASE = like_firmware(60_000)
IMAGE = grown(BASE, 300, edits=20)


def test_a_whole_payload_names_its_image_and_gives_it_back() -> None:
    payload = pack(IMAGE)
    header = read_header(payload)
    assert (header.kind, header.size, header.length) == (Kind.WHOLE, len(IMAGE), len(payload))
    assert header.sha256 == hashlib.sha256(IMAGE).digest()
    assert (header.base_size, header.base_sha256) == (0, bytes(32))
    assert header.frames() == -(-len(IMAGE) // FRAME)
    assert unpack(payload) == IMAGE
    assert len(payload) < 0.9 * len(IMAGE)


def test_a_delta_names_its_base_and_gives_the_image_back() -> None:
    payload = pack(IMAGE, BASE)
    header = read_header(payload)
    assert (header.kind, header.base_size) == (Kind.DELTA, len(BASE))
    assert header.base_sha256 == hashlib.sha256(BASE).digest()
    assert unpack(payload, BASE) == IMAGE
    assert len(payload) < 0.1 * len(IMAGE)
    for wrong in (None, BASE[:-1], IMAGE):
        with pytest.raises(FleetlingError, match="another base"):
            unpack(payload, wrong)


@pytest.mark.parametrize("size", [1, 4095, 4096, 8191, 8192, 8193, 16384, 50_001])
@pytest.mark.parametrize("frame", [4096, 8192, 16384])
def test_every_size_and_frame_reads_back(size: int, frame: int) -> None:
    image = IMAGE[:size]
    assert unpack(pack(image, frame=frame, window=12)) == image
    assert unpack(pack(image, BASE, frame=frame, window=9), BASE) == image


def test_the_same_input_gives_the_same_bytes() -> None:
    assert pack(IMAGE) == pack(bytes(bytearray(IMAGE)))
    assert pack(IMAGE, BASE) == pack(IMAGE, BASE)


def test_noise_is_stored_as_it_is() -> None:
    noise = random.Random(1).randbytes(20_000)
    assert len(pack(noise)) == HEADER_SIZE + 3 * 8 + len(noise)


def test_a_delta_is_kept_only_where_it_clearly_wins() -> None:
    whole = pack(IMAGE)
    assert best(IMAGE, BASE, whole) == pack(IMAGE, BASE)
    other = like_firmware(60_000, seed=99)
    assert best(IMAGE, other, whole) is None
    made = pack(IMAGE, BASE)
    assert best(IMAGE, BASE, whole, worth=len(made) / len(whole)) == made
    assert best(IMAGE, BASE, whole, worth=(len(made) - 1) / len(whole)) is None


def test_a_delta_that_boards_cannot_take_is_no_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    # 8192 covers of one byte each, from places all over: 4 to 6 bytes of heads for each.
    rng = random.Random(5)
    image, covers, last = bytearray(), b"", 0
    for _ in range(FRAME):
        place = rng.randrange(len(BASE) - 1)
        sign = 0x40 if place < last else 0
        covers += b"\x01" + bytes([0xA0 | sign]) + number(abs(place - last)) + b"\x00"
        image.append(BASE[place])
        last = place + 1
    stream = b"hI\0\x42" + FRAME.to_bytes(2, "little") + number(FRAME) + covers
    assert delta.apply(stream, BASE, FRAME) == image
    monkeypatch.setattr(delta, "lite", lambda base, image: stream)
    with pytest.raises(delta.TooDense):
        pack(bytes(image), BASE)
    assert best(bytes(image), BASE, pack(bytes(image))) is None


def number(value: int) -> bytes:
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([0x80 | value & 0x7F]) + out
    return out


@pytest.mark.parametrize("image", [b"", bytes(0x1000001)])
def test_an_image_of_no_size_or_too_large_is_refused(image: bytes) -> None:
    with pytest.raises(FleetlingError, match="1 byte to 16 MB"):
        pack(image)


def test_damage_anywhere_is_an_error_of_ours() -> None:
    rng = random.Random(6)
    for good, base in ((pack(IMAGE), None), (pack(IMAGE, BASE), BASE)):
        for _ in range(400):
            bad = bytearray(good)
            at = rng.randrange(len(bad))
            if rng.random() < 0.5:
                bad[at] ^= 1 << rng.randrange(8)
            else:
                del bad[at : at + rng.randrange(1, 50)]
            with pytest.raises(FleetlingError):
                unpack(bytes(bad), base)


def test_bytes_after_the_last_frame_are_refused() -> None:
    good = pack(IMAGE)
    head = good[:12] + struct.pack("<I", len(good) + 1) + good[16 : HEADER_SIZE - 4]
    bad = head + struct.pack("<I", zlib.crc32(head)) + good[HEADER_SIZE:] + b"!"
    with pytest.raises(FleetlingError, match="after its last frame"):
        unpack(bad)


def test_damage_inside_a_delta_is_an_error_of_ours() -> None:
    rng = random.Random(7)
    stream = delta.lite(BASE, IMAGE)
    for _ in range(400):
        bad = bytearray(stream)
        at = rng.randrange(60) if rng.random() < 0.7 else rng.randrange(len(bad))
        bad[at] = rng.randrange(256)
        with suppress(FleetlingError):
            assert len(delta.apply(bytes(bad), BASE, len(IMAGE))) == len(IMAGE)


def test_frames_of_a_delta_are_cut_where_the_image_reaches_a_border() -> None:
    stream = delta.lite(BASE, IMAGE)
    pieces = delta.cut(stream, len(IMAGE), FRAME)
    assert b"".join(pieces) == stream
    assert len(pieces) == -(-len(IMAGE) // FRAME)
    assert all(len(piece) >= FRAME for piece in pieces[:-1])  # one byte to add for each, and heads


@pytest.mark.parametrize("least", [1, 8, 32, 1000])
def test_a_thinned_stream_makes_the_same_image(least: int) -> None:
    for image in (IMAGE, edited(BASE, 200), BASE, like_firmware(9000, seed=4), BASE[::-1]):
        stream = delta.lite(BASE, image)
        thinned = delta.thin(stream, len(image), least)
        assert delta.apply(thinned, BASE, len(image)) == image
        assert len(thinned) <= len(stream) + (300 if least < 8 else 0)


def test_equal_parts_take_no_bytes() -> None:
    pieces = delta.cut(delta.thin(delta.lite(BASE, BASE), len(BASE)), len(BASE), FRAME)
    assert pieces[1:] == [b""] * (len(pieces) - 1)
    assert len(pack(BASE, BASE)) < HEADER_SIZE + 8 * len(pieces) + 20


def test_small_edits_cost_little() -> None:
    image = edited(BASE, 30)
    assert len(pack(image, BASE)) < 0.05 * len(pack(image))
