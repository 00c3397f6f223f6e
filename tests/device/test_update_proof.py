# SPDX-License-Identifier: MIT
import asyncio

from support import FakeBoard, supervisor_of

from agent.update.proof import Proof

STEADY_S = 20


async def never(task):
    pass


class Bench:
    """A supervisor whose tasks do nothing; a look each `advance`."""

    def __init__(self, **deadlines):
        self.board = FakeBoard()
        self.supervisor = supervisor_of(self.board)
        self.tasks = self.supervisor.tasks
        for name in deadlines:
            self.start(name, deadlines[name])
        self.start("update")
        self.proof = Proof(self.supervisor, self.tasks["update"])

    def start(self, name, deadline_s=60):
        self.supervisor.task(name, never, deadline_s)
        self.tasks[name].alive()

    def owed(self, seconds=2, steady_s=STEADY_S):
        self.board.ms += seconds * 1000
        self.tasks["update"].alive()
        return self.proof.owed(self.board.uptime_s() - self.supervisor.failed_at, steady_s)

    def fail(self):
        self.supervisor.failed_at = self.board.uptime_s()

    async def sleep(self, name, seconds):
        """The task is within a sleep."""
        asleep = asyncio.create_task(self.tasks[name].sleep(seconds))
        await asyncio.sleep(0)
        asleep.cancel()


async def test_a_task_that_is_not_overdue_has_proven_nothing():
    bench = Bench(app=3600)
    assert all([bench.owed() for _ in range(100)])
    bench.tasks["app"].alive()
    assert not bench.owed()


async def test_nor_has_one_that_checked_in_before_the_healthy_time_was_over():
    bench = Bench(app=60)
    for _ in range(STEADY_S // 2 - 1):
        bench.tasks["app"].alive()
        assert bench.owed()
    assert all([bench.owed() for _ in range(10)])
    bench.tasks["app"].alive()
    assert not bench.owed()


async def test_each_task_has_to_check_in():
    bench = Bench(app=60, pump=60)
    assert bench.owed(STEADY_S)
    for _ in range(10):
        bench.tasks["app"].alive()
        assert bench.owed()
    bench.tasks["pump"].alive()
    assert not bench.owed()
    assert not bench.owed()  # once is enough


async def test_after_a_failure_all_begin_anew():
    bench = Bench(app=60, pump=60)
    assert bench.owed(STEADY_S)
    for name in bench.tasks:
        bench.tasks[name].alive()
    assert not bench.owed()
    bench.fail()
    for _ in range(STEADY_S // 2 - 1):
        bench.tasks["app"].alive()
        bench.tasks["pump"].alive()
        assert bench.owed()
    assert bench.owed()  # the first look that counts
    bench.tasks["app"].alive()
    assert bench.owed()
    bench.tasks["pump"].alive()
    assert not bench.owed()


async def test_what_the_agent_does_when_it_starts_a_task_again_does_not_count():
    bench = Bench(app=60)
    bench.fail()
    await bench.sleep("app", 4)  # the pause
    assert bench.owed(3, 3)
    bench.tasks["app"].alive()  # its end
    assert bench.owed(2, 3)
    bench.tasks["app"].alive()  # and that of the import
    assert bench.owed(1, 3) and bench.owed(1, 3)
    bench.tasks["app"].alive()
    assert not bench.owed(1, 3)


async def test_a_long_sleep_is_a_check_in():
    bench = Bench(app=60)
    await bench.sleep("app", 3600)
    assert not bench.owed(STEADY_S)


async def test_tasks_that_end_or_come_late_owe_nothing():
    bench = Bench(app=60, job=60)
    assert bench.owed(STEADY_S)
    bench.tasks["app"].alive()
    assert bench.owed()
    bench.tasks.pop("job")
    assert not bench.owed()
    bench.start("job")
    assert not bench.owed()


async def test_another_task_of_the_same_name_owes_nothing():
    bench = Bench(job=60)
    assert bench.owed(STEADY_S)
    bench.tasks.pop("job")
    bench.start("job")
    assert not bench.owed()
