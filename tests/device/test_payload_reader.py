# SPDX-License-Identifier: MIT
import struct

import payload_maker as make
from support import raises

from agent.errors import LinkError, Refused, StorageError
from agent.update.payload.reader import Reader


def text(size):
    """An image that deflates well, with one frame that does not."""
    random = make.Random(3)
    image = random.bytes(size, 9)
    return image[:8192] + random.bytes(8192) + image[16384:] if size > 16384 else image


async def outcome(payload, image, base=b""):
    world = make.World(payload, image, base)
    return await world.read(Reader(world.write, world.read_base)), world


async def test_a_whole_image_arrives_with_the_last_sector_padded():
    for size in (1, 4095, 4096, 8192, 8193, 20001, 24576):
        image = text(size)
        code, world = await outcome(make.whole(image), image)
        assert code is None and world.same()
        assert world.writes == list(range(0, size, 4096))


async def test_a_delta_makes_its_image_from_the_base():
    base, image, payload = make.sample_delta()
    code, world = await outcome(payload, image, base)
    assert code is None and world.same()
    assert len(world.writes) == (len(image) + 4095) // 4096


async def test_a_delta_of_one_long_copy_needs_no_bytes():
    base = make.Random(5).bytes(30000)
    stream = make.Stream(base)
    stream.add(b"", 0, 30000)
    payload = make.join([make.frame(p) for p in stream.pieces()], base, base)
    assert len(payload) < 88 + 4 * 8 + 20
    code, world = await outcome(payload, base, base)
    assert code is None and world.same()


async def test_a_last_empty_cover_is_read():
    base = make.Random(5).bytes(9000)
    stream = make.Stream(base)
    stream.add(b"", 0, 9000)
    stream.add(b"", 100, 0)
    payload = make.join([make.frame(p) for p in stream.pieces()], base, base)
    assert (await outcome(payload, base, base))[0] is None


async def test_a_fetch_that_gives_a_byte_at_a_time_is_enough():
    base, image, payload = make.sample_delta(size=9000)
    world = make.World(payload, image, base)
    world.most = 1
    assert await world.read(Reader(world.write, world.read_base)) is None
    assert world.same()


async def test_it_goes_on_at_each_frame_after_a_reboot():
    plain = text(40000)
    for base, image, payload in (make.sample_delta(), (b"", plain, make.whole(plain))):
        for stop in range(1, 6):
            world = make.World(payload, image, base)
            first = Reader(world.write, world.read_base if base else None)
            await world.open(first)
            for _ in range(stop):
                await first.step(world.fetch)
            state = first.state()
            assert len(state) == 29
            fetched = world.fetched
            second = Reader(world.write, world.read_base if base else None)
            await world.open(second)
            second.restore(state)
            assert second.position() == min(len(image), stop * 8192)
            while await second.step(world.fetch):
                pass
            assert second.done() and world.same()
            # The header again, and at most the head of a frame that had come along already.
            again = world.fetched - len(payload) - 88
            assert 0 <= again <= 8 and fetched < world.fetched
            assert world.writes == list(range(0, len(image), 4096))


async def test_a_step_that_failed_is_tried_again():
    base, image, payload = make.sample_delta()
    world = make.World(payload, image, base)
    reader = Reader(world.write, world.read_base)
    await world.open(reader)
    troubles = {"fetch": 3, "write": 3}

    async def fetch(offset, buffer):
        troubles["fetch"] += 1
        if troubles["fetch"] % 5 == 0:
            raise LinkError("http-closed")
        return await world.fetch(offset, buffer)

    def write(offset, sector):
        troubles["write"] += 1
        if troubles["write"] % 4 == 0:
            raise StorageError("flash-write")
        world.write(offset, sector)

    reader.write = write
    failed = 0
    going = True
    while going:
        try:
            going = await reader.step(fetch)
        except (LinkError, StorageError):
            failed += 1
    assert failed > 5 and reader.done() and world.same()


async def test_a_state_of_another_payload_is_refused():
    base, image, payload = make.sample_delta()
    world = make.World(payload, image, base)
    reader = Reader(world.write, world.read_base)
    await world.open(reader)
    await reader.step(world.fetch)
    state = reader.state()
    base, image, other = make.sample_delta(seed=8)
    world = make.World(other, image, base)
    reader = Reader(world.write, world.read_base)
    await world.open(reader)
    assert raises(Refused, reader.restore, state).code == "payload-state"
    assert raises(Refused, reader.restore, state[:-1]).code == "payload-state"
    good = list(struct.unpack("<IIIiIIIB", reader.state()))
    for field, value in ((1, 99), (2, 10), (2, len(other) + 1), (3, -2), (4, 1 << 30), (5, 60000)):
        bad = good[:]
        bad[field] = value
        assert (
            raises(Refused, reader.restore, struct.pack("<IIIiIIIB", *bad)).code == "payload-state"
        )
    bad = good[:]
    bad[5], bad[6] = 10, len(base) - 9
    assert raises(Refused, reader.restore, struct.pack("<IIIiIIIB", *bad)).code == "payload-state"


async def test_nothing_is_written_for_what_the_signature_does_not_name():
    image = text(20000)
    payload = make.whole(image)
    reader = Reader(None, None)
    fetch = make.World(payload, image).fetch
    size, hash = len(image), make.sha256(image)
    for signed in ((len(payload) + 1, size, hash), (len(payload), size + 1, hash)):
        try:
            await reader.open(fetch, *signed)
            raise AssertionError
        except Refused as e:
            assert e.code == "payload-signed"
    try:
        await reader.open(fetch, len(payload), size, bytes(32))
        raise AssertionError
    except Refused as e:
        assert e.code == "payload-signed"


async def test_a_wrong_base_is_refused_before_anything_is_written():
    base, image, payload = make.sample_delta()
    code, world = await outcome(payload, image, base[:-1] + b"!")
    assert (code, world.writes) == ("payload-base", [])
    world = make.World(payload, image, base)
    assert await world.read(Reader(world.write)) == "payload-base"


async def test_each_header_field_is_checked():
    image = text(20000)
    for code, other in (
        ("payload-format", {"magic": b"FLPM"}),
        ("payload-format", {"crc": 0}),
        ("payload-version", {"version": 2}),
        ("payload-version", {"kind": 2}),
        ("payload-format", {"window": 8}),
        ("payload-format", {"window": 16}),
        ("payload-memory", {"window": 12}),
        ("payload-format", {"sectors": 0}),
        ("payload-format", {"sectors": 5}),
        ("payload-memory", {"sectors": 3}),
        ("payload-format", {"size": 0}),
        ("payload-format", {"size": 0x1000001}),
        ("payload-signed", {"size": 19999}),
        ("payload-format", {"length": 88}),
        ("payload-format", {"length": 0xFFFFFFFF}),
        ("payload-signed", {"sha256": bytes(32)}),
        ("payload-format", {"base_size": 1}),
        ("payload-format", {"kind": 1, "base_size": 0}),
        ("payload-format", {"kind": 1, "base_size": 0x1000001}),
    ):
        found, world = await outcome(make.whole(image, **other), image)
        assert (found, world.writes) == (code, []), (other, found)


async def test_a_payload_cut_anywhere_is_refused():
    image = text(20000)
    payload = make.whole(image)
    for length in (0, 3, 87, 88, 95, 96, 100, len(payload) - 1):
        world = make.World(payload, image)
        reader = Reader(world.write)

        async def fetch(offset, buffer, length=length, world=world):
            return await world.fetch(offset, buffer[: max(length - offset, 0)])

        try:
            await reader.open(fetch, len(payload), len(image), make.sha256(image))
            while await reader.step(fetch):
                pass
            raise AssertionError(length)
        except Refused as e:
            assert e.code == "payload-short"


async def frames_refused(frames, image, base=b""):
    return (await outcome(make.join(frames, image, base), image, base))[0]


async def test_each_frame_field_is_checked():
    image = text(8192)
    good = make.frame(image)
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    assert await frames_refused([good], image) is None
    assert await frames_refused([flipped], image) == "payload-frame"
    packed = make.squeeze(image)
    for size in (8191, 8193, 65535):
        assert await frames_refused([make.frame(image, packed, size)], image) in (
            "payload-frame",
            "payload-deflate",
        )
    # Packed larger than unpacked, and larger than the reader's memory.
    assert await frames_refused([make.frame(image, image + b"!", 8192)], image) == "payload-frame"
    big = make.Random(1).bytes(9000)
    assert await frames_refused([make.frame(big)], image) == "payload-frame"
    # A frame that reaches past the payload, one too few, one too many, bytes after the last.
    long = struct.pack("<HH", 8000, 8192) + good[4:]
    assert await frames_refused([long], image) == "payload-frame"
    assert await frames_refused([good], image + b"!") == "payload-short"
    assert await frames_refused([good, good], image) == "payload-frame"
    assert await frames_refused([good, b"!"], image) == "payload-frame"
    assert await frames_refused([make.frame(b"")], image) == "payload-frame"


async def test_a_deflate_stream_must_end_where_its_frame_ends():
    image = bytes(8192)
    packed = make.squeeze(image)
    assert await frames_refused([make.frame(image, packed)], image) is None
    for bad in (
        packed[:-1],  # too short
        packed + b"\0",  # bytes after its end
        packed[:-4],  # without what ends it
        make.squeeze(image + bytes(5000)),  # makes more than announced
        make.squeeze(image[1:]),  # makes less
        b"\xff" * 20,  # a reserved block type
        b"\0\0\0\xff\xff" * 1000,  # empty blocks without end
        b"",
    ):
        assert await frames_refused([make.frame(image, bad)], image) == "payload-deflate", bad


async def test_what_a_frame_makes_too_much_is_in_the_image_or_nowhere():
    # A few bits more than announced cannot be told from the end, and come first in the next frame:
    # never silently, since then the image is not the one that was signed.
    image = bytes(8192)
    long = make.frame(image, make.squeeze(image + b"!"))
    code, world = await outcome(make.join([long, make.frame(image)], image + image), image + image)
    assert code == "payload-deflate" or not world.same()
    code, world = await outcome(make.join([make.frame(image), long], image + image), image + image)
    assert code is None and world.same()


async def test_a_failed_step_starts_a_new_stream():
    # Half of a frame was unpacked when the flash failed: the same frame once more, from its start.
    image = text(30000)
    world = make.World(make.whole(image), image)
    fails = [6]

    def write(offset, sector):
        fails[0] -= 1
        if not fails[0]:
            raise StorageError("flash-write")
        world.write(offset, sector)

    reader = Reader(write)
    await world.open(reader)
    more = True
    while more:
        try:
            more = await reader.step(world.fetch)
        except StorageError:
            continue
    assert world.same() and fails[0] < 0


async def test_one_reader_reads_several_payloads():
    reader = Reader()
    for size in (100, 20000, 5000):
        image = text(size)
        world = make.World(make.whole(image), image)
        reader.write = world.write
        assert await world.read(reader) is None and world.same()


async def test_a_short_frame_does_not_live_on_the_one_before():
    # Both make 8192 bytes; the second is cut, and what follows it in memory would complete it.
    random = make.Random(4)
    image = random.bytes(8192, 4)
    packed = make.squeeze(image)
    frames = [make.frame(image), make.frame(image, packed[:-100])]
    assert await frames_refused(frames, image + image) == "payload-deflate"
