# SPDX-License-Identifier: MIT
import payload_maker as make

from agent.errors import Refused
from agent.update.payload import add_plain
from agent.update.payload.add import add
from agent.update.payload.patch import Patch

BASE = bytes(range(256)) * 4


def patched(stream, size, piece=100):
    """The image that the stream makes, or the code and detail of the refusal."""
    image = bytearray(size)
    base_size = len(BASE)
    left = [stream]

    def read_base(offset, buffer):
        assert 0 <= offset <= base_size - len(buffer)
        buffer[:] = BASE[offset : offset + len(buffer)]

    def take(view):
        if len(view) > len(left[0]):
            raise Refused("payload-frame", "short")
        view[:] = left[0][: len(view)]
        left[0] = left[0][len(view) :]

    patch = Patch(read_base)
    patch.start(size, base_size)
    try:
        for at in range(0, size, piece):
            patch.fill(take, memoryview(image)[at : at + piece], at)
        patch.finish(take)
    except Refused as e:
        return e.code, e.detail
    assert left[0] == b""
    return bytes(image)


def stream(size, *covers, **other):
    """`covers` are the bytes of each; the count and the head can be replaced."""
    count = make.number(other.get("count", len(covers)))
    return other.get("head", b"hI\0\x42" + size.to_bytes(2, "little")) + count + b"".join(covers)


def test_copies_sums_and_literals():
    plain = make.cover(b"ab", 10, 300, b"", 0)
    summed = make.cover(b"", 5, 300, bytes(300 * [255]), 310)
    wanted = b"ab" + BASE[10:310] + bytes((b - 1) & 255 for b in BASE[5:305])
    for piece in (1, 7, 302, 602):
        assert patched(stream(602, plain, summed), 602, piece) == wanted


def test_the_two_inner_loops_agree():
    for count in (0, 1, 5, 64):
        target, plain = bytearray(range(190, 254)), bytearray(range(190, 254))
        old = bytearray(BASE[100:180])
        add(memoryview(target)[2:], memoryview(old)[1:], min(count, 62))
        add_plain.add(memoryview(plain)[2:], memoryview(old)[1:], min(count, 62))
        assert target == plain
        assert count == 0 or target != bytearray(range(190, 254))


def test_a_cover_may_end_with_the_base_and_not_after_it():
    last = len(BASE) - 50
    assert patched(stream(50, make.cover(b"", last, 50, b"", 0)), 50) == BASE[last:]
    for place in (last + 1, len(BASE), 1 << 24, (1 << 28) - 1):
        refused = patched(stream(50, make.cover(b"", place, 50, b"", 0)), 50)
        assert refused == ("payload-patch", "range")
    before = make.cover(b"", 0, 25, b"", 26)  # one before the first byte
    assert patched(stream(50, before, before), 50) == ("payload-patch", "range")


def test_a_cover_may_end_with_the_image_and_not_after_it():
    for literals, length in ((b"", 51), (b"x", 50), (b"x" * 51, 0)):
        refused = patched(stream(50, make.cover(literals, 0, length, b"", 0)), 50)
        assert refused == ("payload-patch", "range")


def test_numbers_are_bounded():
    for bad in (b"\xff\xff\xff\xff\x7f", b"\x81\x80\x80\x80\x80\x00", b"\xff" * 40):
        assert patched(stream(50, bad + b"\x80\x00"), 50) == ("payload-patch", "number")
    # Zeros in front change nothing, and end with the frame.
    good = make.cover(b"", 0, 50, b"", 0)
    assert patched(stream(50, b"\x80\x80" + good), 50) == BASE[:50]
    assert patched(stream(50, b"\x80" * 99), 50)[0] == "payload-frame"


def test_the_number_of_covers_is_exact():
    half = make.cover(b"", 0, 25, b"", 0)
    rest = make.cover(b"", 25, 25, b"", 25)
    empty = make.cover(b"", 50, 0, b"", 50)
    assert patched(stream(50, half, rest), 50) == BASE[:50]
    assert patched(stream(50, half, rest, empty), 50) == BASE[:50]
    assert patched(stream(50, half, count=1), 50) == ("payload-patch", "short")
    assert patched(stream(50, half, rest, rest), 50) == ("payload-patch", "range")
    assert patched(stream(50, half, rest, empty, empty), 50) == ("payload-patch", "empty")
    assert patched(stream(50, half, empty, rest), 50) == ("payload-patch", "empty")
    assert patched(stream(50, count=0), 50) == ("payload-patch", "short")


def test_the_head_must_be_that_of_the_format():
    good = make.cover(b"", 0, 50, b"", 0)
    for head in (
        b"hJ\0\x4150",
        b"hI\1\x412",
        b"hI\0\x812",
        b"hI\0\x492",
        b"hI\0\x45" + b"2\0\0\0\0",
    ):
        assert patched(stream(50, good, head=head), 50) == ("payload-patch", "head")
    assert patched(stream(50, good, head=b"hI\0\x413"), 50) == ("payload-patch", "size")
