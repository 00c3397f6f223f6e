# SPDX-License-Identifier: MIT
"""Ends a task of the application for good. Loaded for that.

It is cancelled, and may clean up within its deadline, which it cannot move any more. One that goes
on nevertheless, since it takes its cancellation for a failure like any other, ends in a reset that
names it: nobody can stop a coroutine that does not want to, and two of one name must not run on.
"""


def end(task):
    tasks = task.supervisor.tasks
    del tasks[task.name]
    # Its own end, a return or what it raises, must not be that of the next of its name.
    task.name += " (ended)"
    while task.name in tasks:
        task.name += "*"
    tasks[task.name] = task
    task.of_application = False
    task.run = _nothing
    task.alive()
    task.alive = _late
    task._life = _Last(task)
    task.kept.cancel()


def _late(seconds=0):
    pass


async def _nothing(task):
    pass


class _Last:
    """What is left of a task's coroutine: its steps, the last of which is seen."""

    def __init__(self, task):
        self._task = task
        self._rest = task._life

    def send(self, value):
        return self._step(self._rest.send, value)

    def throw(self, raised):
        return self._step(self._rest.throw, raised)

    def close(self):
        self._rest.close()

    def _step(self, step, value):
        try:
            return step(value)
        except BaseException:
            self._task.supervisor.tasks.pop(self._task.name, None)
            raise
