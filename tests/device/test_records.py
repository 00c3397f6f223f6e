# SPDX-License-Identifier: MIT
from support import FakeNvs, raises

from agent.errors import StorageError
from agent.storage.records import OVERHEAD, Record, newer, pack, unpack


def test_a_record_comes_back_as_it_was_packed():
    data = pack(7, b"payload")
    assert len(data) == OVERHEAD + 7
    assert unpack(data) == (7, b"payload")
    assert unpack(pack(0, b"")) == (0, b"")


def test_every_single_bit_that_flips_is_noticed():
    data = pack(7, b"payload")
    for bit in range(8 * len(data)):
        spoilt = bytearray(data)
        spoilt[bit // 8] ^= 1 << bit % 8
        assert unpack(bytes(spoilt)) != (7, b"payload") and unpack(bytes(spoilt)) is None


def test_what_is_cut_short_or_foreign_is_no_record():
    data = pack(7, b"payload")
    for length in range(len(data)):
        assert unpack(data[:length]) is None
    assert unpack(None) is None
    assert unpack(b"\xff" * 64) is None
    assert unpack(bytes(64)) is None


def test_sequences_wrap():
    assert newer(2, 1) and not newer(1, 2) and not newer(1, 1)
    assert newer(0, 0xFFFFFFFF) and not newer(0xFFFFFFFF, 0)


def test_a_save_never_rewrites_the_copy_that_holds_the_value():
    store = FakeNvs()
    record = Record(store, "x")
    assert record.load() is None
    for number in range(6):
        before = dict(store.values)
        newest = max([unpack(data)[0] for data in before.values()] or [0])
        record.save(str(number).encode())
        changed = [key for key in store.values if store.values[key] != before.get(key)]
        assert len(changed) == 1
        if changed[0] in before:
            assert unpack(before[changed[0]])[0] != newest
        assert Record(store, "x").load() == str(number).encode()


def test_a_save_that_fails_or_is_torn_leaves_the_old_value():
    store = FakeNvs()
    Record(store, "x").save(b"old")
    Record(store, "x").save(b"value")
    keep = dict(store.values)
    store.error = StorageError("nvs-full")
    assert raises(StorageError, Record(store, "x").save, b"new").code == "nvs-full"
    store.error = None
    assert Record(store, "x").load() == b"value"
    Record(store, "x").save(b"new")
    changed = next(key for key in keep if store.values[key] != keep[key])
    whole = store.values[changed]
    for length in range(len(whole)):
        store.values[changed] = whole[:length]
        assert Record(store, "x").load() == b"value"
    store.values[changed] = whole
    assert Record(store, "x").load() == b"new"


def test_the_same_value_again_writes_nothing():
    store = FakeNvs()
    record = Record(store, "x")
    record.save(b"same")
    record.save(b"same")
    assert store.writes == 1
