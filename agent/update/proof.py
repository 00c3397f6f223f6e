# SPDX-License-Identifier: MIT
"""Which tasks have checked in since the healthy minute of a trial was over, seen from outside: a
check-in moves the time at which a task is due.

Not to be overdue by then proves nothing, nor does a check-in before: a task that hangs after it is
overdue only when its deadline is over. So what counts is what moves from then on. Tasks that are
started later owe nothing: some come and go for ever. No I/O. Loaded for a trial.
"""

from micropython import const

_PAUSE_S = const(5)  # before a task that has failed runs again, at most; its start moves it, too


class Proof:
    def __init__(self, supervisor, own):
        self._supervisor = supervisor
        self._own = own
        self._owing = {}  # name: the task, and when it was due
        self._began = -1  # the failure, by its uptime, after which that was taken down

    def owed(self, since_s, steady_s):
        """Whether a task has to prove itself still, `since_s` after the last failure; the healthy
        time is `steady_s`."""
        if since_s < steady_s or since_s <= _PAUSE_S:
            return True
        supervisor = self._supervisor
        tasks = supervisor.tasks
        if self._began != supervisor.failed_at:
            self._began = supervisor.failed_at
            self._owing = {name: (tasks[name], tasks[name].due_s) for name in tasks}
            self._owing.pop(self._own.name, None)
        now = supervisor.board.uptime_s()
        for name, (task, due) in list(self._owing.items()):
            asleep = task.due_s - now > task.deadline_s  # within a sleep of its own
            if tasks.get(name) is not task or due != task.due_s or asleep:
                self._owing.pop(name)
        return len(self._owing) > 0
