# SPDX-License-Identifier: MIT
import struct

from support import FakeBoard, quiet_log

from agent.link import sntp
from agent.link.clock import Clock
from agent.link.floor import LATEST
from agent.storage.records import Record
from agent.version import BUILT


def make(board, state=None):
    return Clock(board, quiet_log([]), state or board.nvs("fl_state"), "ntp.example")


def test_the_clock_starts_at_the_floor_not_in_2000():
    board = FakeBoard()
    board.unix = 946684800
    clock = make(board)
    assert clock.now() == board.unix == BUILT
    board.unix = 5  # whoever set it back
    assert clock.now() == BUILT


def test_the_floor_survives_and_never_falls():
    board = FakeBoard()
    make(board).raise_floor(BUILT + 100)
    make(board).raise_floor(BUILT + 50)
    make(board).raise_floor(0)
    board.unix = 0
    assert make(board).now() == BUILT + 100
    assert board.unix == BUILT + 100


def test_a_spoilt_floor_falls_back_to_the_build_time():
    board = FakeBoard()
    make(board).raise_floor(BUILT + 100)
    for key in list(board.nvs("fl_state").values):
        board.nvs("fl_state").values[key] = b"spoilt"
    board.unix = 0
    assert make(board).now() == BUILT
    Record(board.nvs("fl_state"), "floor").save(b"odd length")
    assert make(board).floor == BUILT


def test_a_newer_build_raises_what_was_stored():
    board = FakeBoard()
    Record(board.nvs("fl_state"), "floor").save(struct.pack("<I", BUILT - 5))
    assert make(board).floor == BUILT


def test_the_network_time_sets_the_clock_but_never_the_floor():
    board = FakeBoard()
    clock = make(board)
    board.server_time = BUILT + 3600
    assert sntp.sync(clock, quiet_log([])) and clock.synced()
    assert board.unix == BUILT + 3600 and clock.floor == BUILT
    board.server_time = LATEST  # a hostile server, far ahead
    clock.distrust()
    assert sntp.sync(clock, quiet_log([]))
    assert make(board).floor == BUILT
    board.server_time = BUILT + 7200
    clock.distrust()
    assert sntp.sync(clock, quiet_log([])) and board.unix == BUILT + 7200


def test_a_time_that_the_clock_cannot_take_is_ignored():
    board = FakeBoard()
    clock = make(board)
    before = board.unix
    for seconds in (LATEST + 1, 0xFFFFFFF0):
        board.server_time = seconds
        assert not sntp.sync(clock, quiet_log([])) and board.unix == before


def test_a_time_below_the_floor_is_ignored():
    board = FakeBoard()
    clock = make(board)
    board.server_time = BUILT - 1
    assert not sntp.sync(clock, quiet_log([])) and not clock.synced()
    assert board.unix == BUILT


def test_no_answer_and_nonsense_are_no_time():
    board = FakeBoard()
    clock = make(board)
    for answer in (OSError(116), OSError(-202), IndexError(), ValueError()):
        board.server_time = answer
        assert not sntp.sync(clock, quiet_log([]))
    board.server_time = 1 << 33
    assert not sntp.sync(clock, quiet_log([]))


def test_a_synced_clock_asks_again_after_hours_only():
    board = FakeBoard()
    clock = make(board)
    board.server_time = BUILT + 10
    sntp.sync(clock, quiet_log([]))
    board.server_time = OSError(116)
    assert sntp.sync(clock, quiet_log([]))
    board.ms += 7 * 3600 * 1000
    assert not sntp.sync(clock, quiet_log([]))


def test_the_floor_has_an_end():
    board = FakeBoard()
    clock = make(board)
    for seconds in (1 << 32, LATEST + 1):
        clock.raise_floor(seconds)
        assert clock.floor == BUILT
    clock.raise_floor(LATEST)
    stored = Record(board.nvs("fl_state"), "floor").load()
    assert stored == struct.pack("<I", LATEST)
