# SPDX-License-Identifier: MIT
"""Which tasks have checked in since they were started, seen from outside: a check-in moves the
time at which a task is due.

What the agent does for a task is no proof: it checks in when it starts one, after a pause if that
has failed, and for "app" once more when its module is imported. So what counts is what moves after
that. No I/O. Loaded for a trial.
"""

from micropython import const

_PAUSE_S = const(5)  # before a task that has failed runs again, at most


class Proof:
    def __init__(self, supervisor, own):
        self._supervisor = supervisor
        self._own = own
        self._seen = {}  # name: the task, and when it was due; None once that has moved
        self._began = -1  # the failure, by its uptime, after which all are running again

    def owed(self, since_s, steady_s):
        """Whether a task has to prove itself still, `since_s` after the last failure. Tasks that
        are started after `steady_s` have not: some come and go for ever."""
        failed_at = self._supervisor.failed_at
        now = self._supervisor.board.uptime_s()
        anew = failed_at != self._began
        if since_s > _PAUSE_S:
            self._began = failed_at
        owed = False
        for task in self._supervisor.tasks.values():
            if task is self._own:
                continue
            was, due = self._seen.get(task.name, (None, None))
            if anew or was is not task:
                due = task.due_s if anew or since_s < steady_s else None
            elif due != task.due_s or task.due_s - now > task.deadline_s:
                due = None  # it has checked in, or is within a sleep of its own
            self._seen[task.name] = (task, due)
            owed = owed or due is not None
        return owed
