# SPDX-License-Identifier: MIT
"""Crash records: what raised, where, and how the board was then; kept until the broker has it.

Bounded, and free of secrets: settings that are secret are struck out wherever they stand, because
an application may raise with whatever it holds. The first record stays until it was sent; the same
crash again is counted in it. Loaded when there is something to note, then released.
"""

import json

from micropython import const

from agent import running
from agent.errors import AgentError
from agent.storage import files
from agent.version import VERSION

_PATH = const("/fl/crash")
_FRAMES = const(8)
_OURS = const(("agent/supervisor.py", "agent/application.py"))  # what every trace begins with
_SAME = const(("task", "error", "trace", "agent", "app"))  # what makes it the same crash
_TEXT = const(160)
_LINES = const(8)
_SHORTEST = const(4)  # a shorter secret would strike out half of the text
_NAME = const(64)  # characters of a task's or an error's
_LONGEST = const(4000)  # bytes of a record: a message takes little more


def note(runtime, task_name, e):
    """Notes an exception; says so in the log and as an event."""
    secrets = _secrets(runtime.settings)
    lines = runtime.board.format_exception(e).split("\n")
    trace = [frame for frame in [_frame(line) for line in lines] if frame]
    while len(trace) > 1 and trace[0][0] in _OURS:
        trace.pop(0)
    trace = trace[-_FRAMES:]
    where = "{}:{}".format(*trace[-1]) if trace else ""
    text = _struck(str(e), secrets)[:_TEXT]
    error = type(e).__name__[:_NAME]
    task_name = task_name[:_NAME]
    log = runtime.log
    for frame in trace:
        log.error(task_name, "{}:{} {}".format(*frame))
    log.error(task_name, "{}: {}".format(error, text))
    if runtime.events:
        runtime.events.add("crash", task=task_name, error=error, where=where)
    _keep(
        runtime,
        {
            "task": task_name,
            "error": error,
            "text": text,
            "trace": trace,
            "log": [_struck(line, secrets) for line in log.tail(_LINES)],
            "heap": runtime.board.heap(),
            "agent": VERSION,
            "app": running.application(runtime.slot[len("/slot-") :]),
        },
    )


def note_boot(runtime):
    """Notes that the last life hung, as far as the boot record tells."""
    boot = runtime.supervisor.boot
    record = {"task": boot["task"], "error": boot["why"], "text": "", "trace": [], "log": []}
    _keep(runtime, record, boot["count"] - 1, runtime.supervisor.record.uptime_s)


def _keep(runtime, record, boot=None, uptime_s=None):
    supervisor = runtime.supervisor
    try:
        kept = _load()
        if kept:
            if all([kept.get(word) == record.get(word) for word in _SAME]):
                kept["again"] += 1
                files.replace(_PATH, json.dumps(kept).encode())
            return
        record["again"] = 0
        record["boot"] = supervisor.boot["count"] if boot is None else boot
        record["up"] = runtime.board.uptime_s() if uptime_s is None else uptime_s
        if boot is None and runtime.clock.synced():
            record["at"] = runtime.clock.now()
        data = json.dumps(record).encode()
        while len(data) > _LONGEST and record["log"]:
            record["log"].pop(0)
            data = json.dumps(record).encode()
        files.replace(_PATH, data)
    except AgentError as e:
        runtime.log.error("crash", e.code)


def _load():
    try:
        found = json.loads(files.read(_PATH) or b"null")
        return found if isinstance(found, dict) and "again" in found else None
    except ValueError:
        return None


def _frame(line):
    """[file, line, function] of a traceback's line, or None."""
    part = line.strip().split('"')
    if len(part) != 3 or part[0] != "File ":
        return None
    rest = part[2].split(", ")
    try:
        number = int(rest[1][len("line ") :])
    except (ValueError, IndexError):
        return None
    name = part[1]
    for folder in ("/slot-factory/", "/slot-a/", "/slot-b/"):
        if name.startswith(folder):
            name = name[len(folder) :]
    return [name[-48:], number, rest[2][len("in ") :][:32] if len(rest) > 2 else ""]


def _secrets(settings):
    found = []
    waiting = [settings[name] for name in settings.secrets] if settings else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, str) and len(value) >= _SHORTEST:
            # As it is, and as it stands in a list, a dict, bytes or JSON.
            found += [
                value,
                repr(value)[1:-1],
                repr(value.encode())[2:-1],
                json.dumps(value)[1:-1],
            ]
    # A longer one first: it may begin with a shorter one.
    return sorted(found, key=len, reverse=True)


def _struck(text, secrets):
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
