# SPDX-License-Identifier: MIT
import asyncio

from support import Ended, FakeBoard, raises, raises_async, supervisor_of

from agent.errors import AgentError, StorageError


class Ticking(FakeBoard):
    """Each round of the supervisor takes `step` milliseconds."""

    step = 3000

    def uptime_s(self):
        self.ms += self.step
        return self.ms // 1000


async def forever(task):
    while True:
        await task.sleep(0.01)


async def stuck(task):
    while True:
        await asyncio.sleep(0.01)


async def test_a_starved_task_ends_in_a_reset_that_names_it():
    board = Ticking()
    supervisor = supervisor_of(board)
    supervisor.task("good", forever, 30)
    supervisor.task("bad", stuck, 4)
    await raises_async(Ended, supervisor.run())
    assert board.fed == 1
    board.cause = "hard"
    boot = supervisor_of(board).boot
    assert boot["why"] == "starved" and boot["intent"]["detail"] == "bad"


async def test_the_watchdog_is_not_fed_once_a_task_is_late():
    board = Ticking()
    supervisor = supervisor_of(board)
    supervisor.task("bad", stuck, 2)
    await raises_async(Ended, supervisor.run())
    assert board.fed == 0


async def test_a_task_that_raises_starts_again():
    lines = []
    board = FakeBoard()
    supervisor = supervisor_of(board, lines)
    runs = []

    async def fails(task):
        runs.append(1)
        if len(runs) < 2:
            raise ValueError("broken")

    async def no_pause(seconds):
        await asyncio.sleep(0)

    supervisor.task("fails", fails)
    supervisor.tasks["fails"].sleep = no_pause
    assert not runs  # nothing starts before the supervisor runs
    running = asyncio.create_task(supervisor.run())
    for _ in range(8):
        await asyncio.sleep(0)
    running.cancel()
    assert len(runs) == 2
    assert any(["broken" in line for line in lines])
    assert "fails" not in supervisor.tasks  # it ended by itself


async def test_a_name_is_taken_once():
    supervisor = supervisor_of(FakeBoard())
    supervisor.task("one", forever)
    assert raises(AgentError, supervisor.task, "one", forever).code == "task-exists"


def test_an_intent_explains_software_resets_only():
    board = FakeBoard()
    raises(Ended, supervisor_of(board).reset, "command", "r1")
    for cause, why in (
        ("hard", "command"),
        ("soft", "command"),
        ("power-on", ""),
        ("watchdog", ""),
        ("deep-sleep", ""),
    ):
        board.cause = cause
        assert supervisor_of(board).boot["why"] == why, cause


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
    for key in values:
        values[key] = values[key][:-1] + b"?"
    assert supervisor_of(board).boot["why"] == ""
