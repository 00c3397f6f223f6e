# SPDX-License-Identifier: MIT
import asyncio
import binascii
import struct

from support import Ended, FakeBoard, raises, raises_async, supervisor_of

from agent.ended import end
from agent.errors import AgentError, StorageError
from agent.supervisor import BootRecord, Task

GOOD, SAFE = 1, 2  # flags of the boot record


class Passing(FakeBoard):
    """Time passes once the supervisor has found all well."""

    def feed_watchdog(self):
        super().feed_watchdog()
        self.ms += 5000


async def forever(task):
    while True:
        await task.sleep(0.01)


async def stuck(task):
    while True:
        await asyncio.sleep(0.01)


async def test_a_starved_task_ends_in_a_reset_that_names_it():
    board = Passing()
    supervisor = supervisor_of(board)
    supervisor.task("good", forever, 30)
    supervisor.task("bad", stuck, 1)
    await raises_async(Ended, supervisor.run())
    assert board.fed == 1
    board.cause = "hard"
    boot = supervisor_of(board).boot
    assert boot["why"] == "starved" and boot["task"] == "bad"


async def test_the_watchdog_is_not_fed_once_a_task_is_late():
    board = FakeBoard()
    supervisor = supervisor_of(board)

    async def late(task):
        board.ms += 5000
        await stuck(task)

    supervisor.task("bad", late, 1)
    await raises_async(Ended, supervisor.run())
    assert board.fed == 0


def test_a_task_is_late_after_its_deadline_and_no_sooner():
    board = FakeBoard()
    supervisor = supervisor_of(board)
    task = supervisor.task("bad", stuck, 7)
    for ms, seconds, deadline_s in ((0, 0, 7), (999, 0, 7), (2500, 20, 27)):
        board.ms = ms
        task.alive(seconds)
        board.ms = ms + 1000 * deadline_s
        assert supervisor._look() == 1
        board.ms += 1000
        raises(Ended, supervisor._look)


def test_the_supervisor_looks_when_a_task_may_be_late_and_four_times_a_minute():
    supervisor = supervisor_of(FakeBoard())
    assert supervisor._look() == 15
    supervisor.task("slow", stuck, 30).alive()
    assert supervisor._look() == 15
    supervisor.task("quick", stuck, 3).alive()
    assert supervisor._look() == 3


async def no_pause(seconds):
    await asyncio.sleep(0)


async def life(task):
    """All of a task's life, outside of `Supervisor.run`."""
    task.start()
    await task.kept


async def started(supervisor, rounds=12):
    running = asyncio.create_task(supervisor.run())
    for _ in range(rounds):
        await asyncio.sleep(0)
    running.cancel()
    return running


async def test_a_task_that_raises_is_told_and_starts_again():
    lines, told, runs = [], [], []
    supervisor = supervisor_of(FakeBoard(), lines)
    supervisor.on_failure = lambda name, e: told.append((name, str(e)))

    async def fails(task):
        runs.append(1)
        if len(runs) < 2:
            raise ValueError("broken")

    supervisor.task("fails", fails)
    supervisor.tasks["fails"].sleep = no_pause
    assert not runs  # nothing starts before the supervisor runs
    await started(supervisor)
    assert len(runs) == 2 and told == [("fails", "broken")]
    assert not lines  # what was raised may name a secret; who is told may strike it out
    assert "fails" not in supervisor.tasks  # it ended by itself


async def test_a_task_that_goes_on_raising_ends_in_a_reset():
    for kind in (ValueError, MemoryError, SystemExit, RuntimeError):
        board = FakeBoard()
        supervisor = supervisor_of(board)
        runs = []

        async def fails(task, kind=kind, runs=runs):
            runs.append(1)
            raise kind("again")

        supervisor.task("fails", fails)
        task = supervisor.tasks["fails"]
        task.sleep = no_pause
        await raises_async(Ended, life(task))
        assert len(runs) == 4, kind
        board.cause = "hard"
        boot = supervisor_of(board).boot
        assert (boot["why"], boot["task"]) == ("crash", "fails")


async def test_failures_that_lie_far_apart_do_not_end_in_a_reset():
    board = FakeBoard()
    supervisor = supervisor_of(board)
    runs = []

    async def fails(task):
        runs.append(1)
        board.ms += 300_000
        if len(runs) < 20:
            raise ValueError("now and then")

    supervisor.task("fails", fails)
    task = supervisor.tasks["fails"]
    task.sleep = no_pause
    await life(task)
    assert len(runs) == 20 and task.restarts == 19


async def test_a_note_that_fails_stops_nobody():
    lines, runs = [], []
    supervisor = supervisor_of(FakeBoard(), lines)

    def full(name, e):
        raise MemoryError("full")

    supervisor.on_failure = full

    async def fails(task):
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("secret")

    supervisor.task("fails", fails)
    supervisor.tasks["fails"].sleep = no_pause
    await life(supervisor.tasks["fails"])
    assert len(runs) == 3 and "E fails: ValueError, not noted: MemoryError" in lines[0]
    assert not any(["secret" in line for line in lines])


async def test_steps_are_measured_and_the_boot_record_says_whose_runs():
    board = FakeBoard()
    supervisor = supervisor_of(board)
    seen = []

    async def works(task):
        for ms in (5, 40):
            board.ms += ms
            seen.append(BootRecord(board.rtc_memory).task)
            await asyncio.sleep(0)

    async def other(task):
        seen.append(BootRecord(board.rtc_memory).task)

    supervisor.task("works", works)
    task = supervisor.tasks["works"]
    await life(task)
    supervisor.task("a name that is rather long", other)
    await supervisor.tasks["a name that is rather long"].kept
    assert (task.busy_us, task.worst_us, task.restarts) == (45_000, 40_000, 0)
    assert seen == [b"works", b"works", b"a name that is r"]
    board.cause = "watchdog"
    boot = supervisor_of(board).boot
    assert (boot["why"], boot["task"]) == ("hung", "a name that is r")


async def test_a_cancelled_task_ends_and_may_clean_up():
    supervisor = supervisor_of(FakeBoard())
    cleaned = []

    async def waits(task):
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(1)

    supervisor.task("waits", waits)
    task = supervisor.tasks["waits"]
    task.start()
    for _ in range(4):
        await asyncio.sleep(0)
    task.kept.cancel()
    await raises_async(asyncio.CancelledError, task.kept)
    assert cleaned == [1]


async def test_a_task_that_is_ended_is_watched_until_it_has_cleaned_up():
    steps = []

    async def lasts(task):
        try:
            await task.sleep(60)
        except asyncio.CancelledError:
            steps.append("cancelled")
            await asyncio.sleep(0.01)
        steps.append("cleaned")
        await task.sleep(0.01)
        if task.deadline_s == 30:
            raise asyncio.CancelledError()

    for deadline_s in (30, 31):
        del steps[:]
        supervisor = supervisor_of(FakeBoard())
        task = supervisor.task("lasts", lasts, deadline_s)
        task.start()
        await asyncio.sleep(0)
        end(task)
        due_s = task.due_s
        supervisor.task("lasts", stuck)
        for _ in range(2):
            await asyncio.sleep(0)
        assert steps == ["cancelled"] and supervisor.tasks["lasts (ended)"] is task
        await asyncio.sleep(0.1)
        assert steps == ["cancelled", "cleaned"] and list(supervisor.tasks) == ["lasts"]
        assert task.due_s == due_s and task.restarts == 0


async def test_a_boot_is_good_after_a_minute_without_a_failure():
    for failing in (False, True):
        board = FakeBoard()
        board.rtc = record_bytes(bad=4)
        supervisor = supervisor_of(board)
        board.nvs("fl_state").values["guard"] = 3

        async def fails(task, failing=failing):
            await asyncio.sleep(0)
            if failing:
                raise ValueError("x")

        supervisor.task("app", fails, 1000)
        supervisor.tasks["app"].sleep = no_pause
        board.ms = 30_000
        await started(supervisor, 3)
        for ms, good in (
            (59_000, False),
            (70_000, not failing),
            (89_000, not failing),
            (96_000, True),
        ):
            board.ms = ms
            supervisor._look()
            assert bool(supervisor.record.flags & GOOD) is good, (ms, failing)
        found = BootRecord(board.rtc_memory)
        assert found.flags == GOOD and found.bad == 0
        assert board.nvs("fl_state").values["guard"] == 0


def test_safe_mode_never_becomes_a_good_boot():
    board = FakeBoard()
    board.rtc = record_bytes(bad=6, flags=SAFE)
    supervisor = supervisor_of(board)
    assert supervisor.safe
    board.ms = 3_600_000
    supervisor._look()
    assert BootRecord(board.rtc_memory).bad == 6
    raises(Ended, supervisor.reset, "command")
    found = BootRecord(board.rtc_memory)
    assert found.bad == 6 and found.flags == SAFE | GOOD  # a wanted reset, and still safe mode


def mark(record, task, uptime_s):
    record.task = task
    record.uptime_s = uptime_s
    record.write()


def record_bytes(bad=0, flags=0):
    board = FakeBoard()
    record = BootRecord(board.rtc_memory)
    record.bad, record.flags = bad, flags
    record.write()
    return board.rtc


def test_the_boot_record_leaves_what_an_application_keeps_there():
    board = FakeBoard()
    board.rtc = b"mine"
    record = BootRecord(board.rtc_memory)
    assert record.bad == 0 and record.task == b""
    mark(record, b"link", 77)
    mark(record, b"app", 78)
    assert board.rtc[:4] == b"mine" and len(board.rtc) == 34
    again = BootRecord(board.rtc_memory)
    assert (again.task, again.uptime_s) == (b"app", 78)
    board.rtc = b"other" * 3  # it writes again, over ours
    mark(record, b"link", 79)
    assert board.rtc[:15] == b"other" * 3 and BootRecord(board.rtc_memory).uptime_s == 79
    board.rtc = bytes(4)  # what an empty record's CRC would look like
    mark(record, b"link", 79)
    assert board.rtc[:4] == bytes(4) and len(board.rtc) == 34
    board.rtc = b"more" + board.rtc[4:]  # as an application that keeps what it has read
    mark(record, b"app", 80)
    assert board.rtc[:4] == b"more" and len(board.rtc) == 34
    board.rtc = bytes(2048)
    mark(record, b"app", 80)
    assert board.rtc == bytes(2048)  # there is no room


def test_a_boot_record_of_another_version_is_none():
    board = FakeBoard()
    body = b"GL\2" + record_bytes(bad=4)[3:-4]
    board.rtc = body + struct.pack("<I", binascii.crc32(body))
    assert BootRecord(board.rtc_memory).bad == 0


def test_a_spoilt_boot_record_is_none():
    good = record_bytes(bad=4)
    for at in range(len(good)):
        board = FakeBoard()
        board.rtc = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert BootRecord(board.rtc_memory).bad == 0
        board.rtc = good[:at]
        assert BootRecord(board.rtc_memory).bad == 0


async def test_a_long_sleep_is_slept_in_days():
    task = Task(supervisor_of(FakeBoard()), "long", forever, 30)
    naps = []

    async def nap(seconds):
        naps.append(seconds)

    sleep, asyncio.sleep = asyncio.sleep, nap
    try:
        for seconds in (0.5, 86400, 2.5 * 86400):
            await task.sleep(seconds)
    finally:
        asyncio.sleep = sleep
    assert naps == [0.5, 86400, 86400, 86400, 43200]


async def test_a_name_is_taken_once():
    supervisor = supervisor_of(FakeBoard())
    supervisor.task("one", forever)
    assert raises(AgentError, supervisor.task, "one", forever).code == "task-exists"


def test_why_a_life_began():
    for cause, intent, why, task in (
        ("power-on", None, "", ""),
        ("power-on", ("command", "r1"), "", ""),
        ("hard", ("command", "r1"), "command", ""),
        ("hard", ("starved", "app"), "starved", "app"),
        ("hard", ("crash", "app"), "crash", "app"),
        ("hard", None, "panic", ""),
        ("soft", ("repl", ""), "repl", ""),
        ("soft", None, "", ""),
        ("watchdog", None, "hung", "link"),
        ("watchdog", ("command", "r1"), "hung", "link"),
        ("deep-sleep", ("command", "r1"), "", ""),
    ):
        board = FakeBoard()
        supervisor = supervisor_of(board)
        mark(supervisor.record, b"link", 9)
        if intent:
            raises(Ended, supervisor.reset, *intent)
        board.cause = cause
        boot = supervisor_of(board).boot
        assert (boot["why"], boot["task"]) == (why, task), (cause, intent)
        # The intent explains that one reset, and none after it.
        if intent and cause == "hard":
            assert supervisor_of(board).boot["why"] == "panic"


def test_a_board_that_cannot_write_still_resets():
    board = FakeBoard()
    supervisor = supervisor_of(board)
    board.nvs("fl_state").error = StorageError("nvs-full")
    raises(Ended, supervisor.reset, "command")


def test_a_spoilt_intent_is_no_intent():
    board = FakeBoard()
    raises(Ended, supervisor_of(board).reset, "command")
    board.cause = "hard"
    values = board.nvs("fl_state").values
    for key in ("intent0", "intent1"):
        if key in values:
            values[key] = values[key][:-1] + b"?"
    assert supervisor_of(board).boot["why"] == "panic"
