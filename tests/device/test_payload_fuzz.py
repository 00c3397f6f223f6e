# SPDX-License-Identifier: MIT
"""Seeded damage at each layer of a payload, with the checksums above it made good again.

Whatever comes: the image, or Refused; no other exception, no place outside of base or image.
"""

import payload_maker as make
from support import tried

from agent.update.payload.reader import Reader

CASES = 150


def damaged(random, data):
    """One to three edits: bits, bytes, cuts, repeats, extremes."""
    data = bytearray(data)
    for _ in range(1 + random.below(3)):
        at = random.below(len(data) + 1)
        kind = random.below(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.below(8)
        elif kind == 1 and at < len(data):
            data[at] = random.below(256)
        elif kind == 2:
            data = data[:at] + data[at + 1 + random.below(20) :]
        elif kind == 3:
            data = data[:at] + random.bytes(1 + random.below(8)) + data[at:]
        elif kind == 4:
            data = data[:at] + b"\xff" * (1 + random.below(6)) + data[at + 4 :]
        else:
            data = data[:at] + data[max(at - 30, 0) :]
    return bytes(data)


async def survives(payload, image, base, seed):
    world = make.World(payload, image, base)
    code = await world.read(Reader(world.write, world.read_base))
    assert code is None or code.startswith("payload-"), (seed, code)
    assert len(world.writes) <= (len(image) + 4095) // 4096, seed
    return code


def small_delta():
    random = make.Random(11)
    base = random.bytes(6000, 7)
    stream = make.Stream(base)
    while len(stream.image) < 9000:
        length = 1 + random.below(900)
        place = random.below(len(base) - length)
        added = random.bytes(length, 2) if random.below(2) else b""
        stream.add(random.bytes(random.below(20), 9), place, length, added)
    return base, stream.image, stream.pieces()


async def test_random_bytes_are_refused():
    random = make.Random(1)
    tried(CASES)
    for seed in range(CASES):
        payload = random.bytes(88 + random.below(40))
        assert await survives(payload, b"x" * 5000, b"", seed) is not None


async def test_damage_anywhere_is_refused():
    base, image, pieces = small_delta()
    good = make.join([make.frame(piece) for piece in pieces], image, base)
    assert await survives(good, image, base, "good") is None
    random = make.Random(2)
    tried(CASES)
    for seed in range(CASES):
        bad = damaged(random, good)
        if bad != good:
            # All of it stands under a checksum or the signed length.
            assert await survives(bad, image, base, seed) is not None, seed


async def test_damage_under_the_headers_checksum_does_no_harm():
    base, image, pieces = small_delta()
    frames = b"".join([make.frame(piece) for piece in pieces])
    random = make.Random(3)
    tried(CASES)
    for seed in range(CASES):
        # Sizes and hashes stay: the signed metadata has them, and open() compares.
        other = {"window": random.below(17), "sectors": random.below(6), "kind": random.below(3)}
        other["base_size"] = random.below(1 << random.below(33))
        payload = make.header(image, 88 + len(frames), base, **other) + frames
        await survives(payload, image, base, seed)


async def test_damage_under_the_frames_checksum_does_no_harm():
    base, image, pieces = small_delta()
    packed = [make.squeeze(piece) for piece in pieces]
    random = make.Random(4)
    codes = set()
    tried(CASES)
    for seed in range(CASES):
        which = random.below(len(pieces))
        bad = damaged(random, packed[which])
        size = len(pieces[which]) if random.below(3) else random.below(65536)
        frames = [
            make.frame(pieces[i], bad, size) if i == which else make.frame(pieces[i], packed[i])
            for i in range(len(pieces))
        ]
        codes.add(await survives(make.join(frames, image, base), image, base, seed))
    assert {"payload-frame", "payload-deflate", "payload-patch"} <= codes, codes


async def test_damage_inside_the_patch_does_no_harm():
    base, image, pieces = small_delta()
    stored = [make.frame(piece, piece) for piece in pieces]
    random = make.Random(5)
    codes = set()
    tried(CASES * 2)
    for seed in range(CASES * 2):
        which = random.below(len(pieces))
        bad = damaged(random, pieces[which])
        # Most damage near the front, where the heads are.
        if random.below(2):
            bad = damaged(random, pieces[which][:40]) + pieces[which][40:]
        frames = stored[:]
        frames[which] = make.frame(bad, bad)
        codes.add(await survives(make.join(frames, image, base), image, base, seed))
    assert {None, "payload-frame", "payload-patch"} <= codes, codes
