# SPDX-License-Identifier: MIT
"""NVS images go both ways between Espressif's generator and simboard.

`strict_parse` is a reader of its own, written from the documented format and sharing nothing with
simboard: it accepts no state, CRC, span or index that a healthy partition would not have.
"""

from __future__ import annotations

import importlib
import io
import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

SHIMS = Path(__file__).parents[2] / "tools/fleetling/simboard/shims"
sys.path.insert(0, str(SHIMS))
generator = importlib.import_module("esp_idf_nvs_partition_gen.nvs_partition_gen")
flash_module = importlib.import_module("fleetling.simboard.chip.flash")
nvs_module = importlib.import_module("fleetling.simboard.chip.nvs")

SIZE = 0x4000
PAGE = 4096
STATES = {0xFFFFFFFE: "active", 0xFFFFFFFC: "full", 0xFFFFFFFF: "blank"}
NUMBERS = {0x01: "<B", 0x11: "<b", 0x02: "<H", 0x12: "<h", 0x04: "<I", 0x14: "<i"}
NUMBERS |= {0x08: "<Q", 0x18: "<q"}
U8, I32, STRING, BLOB, DATA, INDEX = 0x01, 0x14, 0x21, 0x41, 0x42, 0x48

Values = dict[tuple[str, str], int | bytes]


def crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF)


def entry_state(page: bytes, i: int) -> int:
    return page[32 + i // 4] >> i % 4 * 2 & 3


def items_of(page: bytes, state: str) -> list[tuple[bytes, bytes]]:
    """(head, data) of each item of a page, in their order."""
    items = []
    i = 0
    empty_seen = False
    while i < 126:
        flags = entry_state(page, i)
        entry = page[64 + i * 32 : 96 + i * 32]
        assert flags in (3, 2, 0), "illegal entry state"
        if flags == 3:
            empty_seen = True
            assert state == "full" or entry == b"\xff" * 32, "bytes in an empty entry"
        else:
            assert not empty_seen, "an entry after an empty one"
        if flags != 2:
            i += 1
            continue
        namespace, kind, span, chunk, item_crc = struct.unpack_from("<BBBBI", entry)
        assert item_crc == crc(entry[:4] + entry[8:]), "item CRC"
        key = entry[8:24]
        assert key.rstrip(b"\0") and b"\0" not in key.rstrip(b"\0"), "key"
        assert 1 <= span <= 126 - i, "span"
        assert all(entry_state(page, j) == 2 for j in range(i, i + span)), "span not written"
        data = page[96 + i * 32 : 64 + (i + span) * 32]
        if kind in (STRING, DATA, BLOB):
            size, reserved, data_crc = struct.unpack_from("<HHI", entry, 24)
            assert reserved == 0xFFFF
            assert span == 1 + (size + 31) // 32, "span does not fit the size"
            assert data[size:] == b"\xff" * (len(data) - size), "padding"
            assert data_crc == crc(data[:size]), "data CRC"
            data = data[:size]
        else:
            assert span == 1
            assert kind == INDEX or kind in NUMBERS, "type"
        assert chunk == 0xFF or kind == DATA, "chunk of something that has none"
        assert namespace != 0 or kind == U8, "namespace entry"
        items.append((entry, data))
        i += span
    return items


def strict_parse(image: bytes) -> Values:
    pages = []
    for start in range(0, len(image), PAGE):
        page = image[start : start + PAGE]
        word, sequence, version, header_crc = struct.unpack("<IIB19xI", page[:32])
        state = STATES[word]
        if state == "blank":
            assert page == b"\xff" * PAGE, "bytes in a blank page"
            continue
        assert page[9:28] == b"\xff" * 19
        assert (version, header_crc) == (0xFE, crc(page[4:28])), "page header"
        pages.append((sequence, state, page))
    assert len(pages) < len(image) // PAGE, "no free page"
    pages.sort()
    assert len({sequence for sequence, _, _ in pages}) == len(pages), "sequence twice"
    assert all(state == "full" for _, state, _ in pages[:-1]), "two active pages"

    names: dict[int, str] = {}
    single: dict[tuple[int, bytes], int | bytes] = {}
    chunks: dict[tuple[int, bytes, int], bytes] = {}
    indexes: dict[tuple[int, bytes], tuple[int, int, int]] = {}
    for _, state, page in pages:
        for head, data in items_of(page, state):
            namespace, kind, chunk = head[0], head[1], head[3]
            key = head[8:24].rstrip(b"\0")
            if namespace == 0:
                assert head[24] not in names, "namespace number twice"
                assert key.decode() not in names.values(), "namespace twice"
                names[head[24]] = key.decode()
            elif kind == DATA:
                assert (namespace, key, chunk) not in chunks, "chunk twice"
                chunks[namespace, key, chunk] = data
            elif kind == INDEX:
                assert (namespace, key) not in indexes, "index twice"
                size, count, start, reserved = struct.unpack("<IBBH", head[24:32])
                assert (reserved, start in (0, 128)) == (0xFFFF, True)
                indexes[namespace, key] = (size, count, start)
            else:
                assert (namespace, key) not in single, "key twice"
                number = NUMBERS.get(kind)
                value = struct.unpack_from(number, head, 24)[0] if number else data
                single[namespace, key] = value
    for (namespace, key), (size, count, start) in indexes.items():
        parts = [chunks.pop((namespace, key, start + i)) for i in range(count)]
        assert len(b"".join(parts)) == size, "blob size"
        single[namespace, key] = b"".join(parts)
    assert not chunks, "chunks without an index"
    return {(names[namespace], key.decode()): value for (namespace, key), value in single.items()}


def generate(entries: list[tuple[str, str, str, str]]) -> bytes:
    """(namespace, key, encoding or "hex", value) through Espressif's generator."""
    image = io.BytesIO()
    version = generator.Page.VERSION2
    made: Any = generator.nvs_open(image, SIZE - PAGE, version=version, is_encrypt=False, key=None)
    current = ""
    for namespace, key, encoding, value in entries:
        if namespace != current:
            generator.write_entry(made, namespace, "namespace", "", "")
            current = namespace
        if encoding == "hex":
            generator.write_entry(made, key, "data", "hex2bin", value)
        else:
            generator.write_entry(made, key, "data", encoding, value)
    generator.nvs_close(made)
    return image.getvalue()


def load(image: bytes) -> Any:
    store = flash_module.MemoryStore(SIZE)
    store.write(0, image)
    flash = flash_module.Flash(store, SIZE)
    return nvs_module.Nvs(flash, 0, SIZE)


def image_of(nvs: Any) -> bytes:
    image: bytes = nvs.flash.read(0, SIZE)
    return image


BIG = bytes(random.Random(1).randrange(256) for _ in range(6000))
ENTRIES = [
    ("fl_factory", "id", "hex", b"board-1".hex()),
    ("fl_factory", "ca", "hex", BIG[:600].hex()),
    ("fl_factory", "empty", "hex", ""),
    ("numbers", "u8", "u8", "200"),
    ("numbers", "i8", "i8", "-100"),
    ("numbers", "u16", "u16", "60000"),
    ("numbers", "i32", "i32", "-7"),
    ("numbers", "u32", "u32", "4000000000"),
    ("numbers", "u64", "u64", str(2**63)),
    ("numbers", "text", "string", "a few words"),
    ("fl_factory2", "big", "hex", BIG.hex()),
]
EXPECTED: Values = {
    ("fl_factory", "id"): b"board-1",
    ("fl_factory", "ca"): BIG[:600],
    ("fl_factory", "empty"): b"",
    ("numbers", "u8"): 200,
    ("numbers", "i8"): -100,
    ("numbers", "u16"): 60000,
    ("numbers", "i32"): -7,
    ("numbers", "u32"): 4000000000,
    ("numbers", "u64"): 2**63,
    ("numbers", "text"): b"a few words\0",
    ("fl_factory2", "big"): BIG,
}
KINDS = {"u8": U8, "i8": 0x11, "u16": 0x02, "i32": I32, "u32": 0x04, "u64": 0x08, "text": STRING}


def test_the_strict_parser_reads_the_generators_image() -> None:
    assert strict_parse(generate(ENTRIES)) == EXPECTED


def test_a_generated_image_loads() -> None:
    image = generate(ENTRIES)
    nvs = load(image)
    assert not nvs.was_erased
    for (namespace, key), value in EXPECTED.items():
        kind = KINDS[key] if namespace == "numbers" else BLOB
        assert nvs.get(namespace, kind, key) == value
    assert image_of(nvs) == image, "reading has written"


def test_a_generated_image_can_be_written_to() -> None:
    nvs = load(generate(ENTRIES))
    nvs.set("fl_factory", BLOB, "ca", b"other")
    nvs.set("fl_state", I32, "boots", 3)
    nvs.erase("fl_factory2", "big")
    expected = dict(EXPECTED)
    expected["fl_factory", "ca"] = b"other"
    expected["fl_state", "boots"] = 3
    del expected["fl_factory2", "big"]
    assert strict_parse(image_of(nvs)) == expected
    assert strict_parse(image_of(load(image_of(nvs)))) == expected


def test_the_first_page_is_the_generators_byte_for_byte() -> None:
    """Same items in the same order: the CRCs and all fields agree, not only what they mean."""
    entries = [e for e in ENTRIES if e[0] != "fl_factory2" and e[1] != "text"]
    nvs = load(b"\xff" * SIZE)
    for namespace, key, encoding, value in entries:
        if encoding == "hex":
            nvs.set(namespace, BLOB, key, bytes.fromhex(value))
        else:
            nvs.set(namespace, KINDS[key], key, int(value))
    assert image_of(nvs)[:PAGE] == generate(entries)[:PAGE]


def test_multi_page_blobs_and_recycling_parse() -> None:
    nvs = load(b"\xff" * SIZE)
    for i in range(40):
        nvs.set("space", BLOB, "big", bytes([i]) * (3000 + 50 * i))
        nvs.set("space", I32, f"n{i % 7}", i)
        parsed = strict_parse(image_of(nvs))
        assert parsed["space", "big"] == bytes([i]) * (3000 + 50 * i)
        assert parsed["space", f"n{i % 7}"] == i


@pytest.mark.parametrize("at", [4, 28, 32, 64 + 4, 64 + 32 + 9, 64 + 64 + 2])
def test_the_strict_parser_sees_damage(at: int) -> None:
    image = bytearray(generate(ENTRIES))
    image[at] ^= 1
    with pytest.raises((AssertionError, KeyError)):
        strict_parse(bytes(image))
