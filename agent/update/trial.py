# SPDX-License-Identifier: MIT
"""A new application or firmware on trial: healthy within its time, or back.

It has to keep all tasks going for a minute, to be on the broker by verified TLS, and to have the
application's own `healthy()` say so, where there is one. Without a broker a trial that is healthy
otherwise goes on for three times as long: an outage is not the release's fault. If it ends there,
the board goes back, and the release is not condemned. The same holds for flash that does not take
the confirmation; one that does not take the way back either is asked ever more seldom, and the
board keeps running.

Not to be overdue yet is no proof: each task has to check in once more after that minute. Whoever
has not when the time is over is waited for; at its deadline the supervisor ends that. Loaded for a
trial.
"""

import sys

from micropython import const

from agent.errors import AgentError
from agent.update import record, switch
from agent.update.proof import Proof

_STEADY_S = const(60)
_STEP_S = const(2)
_PATIENCE = const(3)
_LONGEST_PAUSE_S = const(1800)


async def run(wing, task, back):
    """Ends with the trial confirmed, or in a reset. `back`: it has failed already."""
    runtime = wing.runtime
    kept = record.load()
    if back:
        await _back(wing, task, kept, kept["code"])
    trial_s = runtime.settings["trial_s"]
    steady_s = min(_STEADY_S, trial_s // 3)
    # Where a life before has confirmed it, and could not note all of that, nothing leads back to
    # what ran before: the rest must not depend on the broker.
    stays = switch.stays(runtime, kept)
    proof = Proof(runtime.supervisor, task)
    pause_s = min(_STEP_S, steady_s)
    error = None
    while True:
        await task.sleep(pause_s)
        uptime_s = runtime.board.uptime_s()
        since_s = uptime_s - runtime.supervisor.failed_at
        owed = proof.owed(since_s, steady_s)
        steady = since_s >= steady_s and _in_time(runtime)
        fine = steady and await _healthy(runtime)
        passed = stays
        if fine and not owed and runtime.session.connected():
            passed = True
        if passed:
            try:
                switch.confirm(runtime, kept)
                error = wing.live = None
                break
            except AgentError as e:
                runtime.log.error("update", "not confirmed: " + e.code)
                error = e
                pause_s = min(2 * pause_s, _STEADY_S)
        if uptime_s >= trial_s * (_PATIENCE if fine else 1) and not (fine and owed):
            if error and switch.stays(runtime, kept):
                break  # it is not noted: the next life comes here again
            code = "trial-link" if fine else "trial-healthy" if steady else "trial-tasks"
            if error and fine:
                code = error.code
            elif code != "trial-link":
                record.condemn(kept)
            await _back(wing, task, kept, code)
    if error:
        kept["state"] = "confirmed"
        kept["code"] = error.code
        wing.live = {
            "id": kept["id"],
            "state": "confirmed",
            "done": 0,
            "of": 0,
            "why": "",
            "code": error.code,
        }
        if wing.order and wing.order["id"] == kept["id"]:
            wing.order = None
    await wing.over(kept)


async def _back(wing, task, kept, code):
    """Ends in a reset, for as long as flash takes what it needs."""
    pause_s = _STEP_S
    while True:
        try:
            switch.revert(wing.runtime, kept, code)
        except AgentError as e:
            wing.runtime.log.error("update", "not reverted: " + e.code)
        await wing.tell()
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        await task.sleep(pause_s)


def _in_time(runtime):
    """Whether every task has checked in; the supervisor may not have looked yet."""
    uptime_s = runtime.board.uptime_s()
    return all([task.due_s >= uptime_s for task in runtime.supervisor.tasks.values()])


async def _healthy(runtime):
    """What the application says of itself."""
    if runtime.supervisor.safe:
        return True
    check = getattr(sys.modules.get("app"), "healthy", None)
    if check is None:
        return True
    try:
        said = check()
        if hasattr(said, "send"):
            said = await said
    except Exception as e:  # noqa: BLE001 - the application's, whatever it raises
        runtime.log.warning("update", "healthy() raised " + type(e).__name__)
        return False
    return bool(said)
