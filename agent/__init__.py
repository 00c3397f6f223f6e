# SPDX-License-Identifier: MIT
"""Fleetling's agent. `main.py` calls `main()`; at the REPL, `agent.status()` says how it is.

For an application, whose `main(task)` runs as the task "app" (`application`),
`agent.config["name"]` is a setting, and `agent.config.on_change(names, call)` tells of changes;
`config` takes the place of the package of that name once the agent is built.

This module alone keeps module-level variables, `_runtime` and `config`: what the REPL asks after
Ctrl-C, and what an application asks.
"""

_runtime = None


def main():
    """Runs the agent until a reset, or until Ctrl-C gives the prompt back."""
    import asyncio

    runtime = _built()
    try:
        asyncio.run(runtime.run())
    except KeyboardInterrupt:
        _repl("stopped")
    except (Exception, SystemExit) as e:  # noqa: BLE001 - an application's, outside of its tasks
        runtime.failed(e)
    finally:
        asyncio.new_event_loop()


def task(name, run, deadline_s=30):
    """Runs `run(task)`, a coroutine function, under supervision: it has to check in by
    `task.alive()` or `task.sleep(seconds)` within the deadline. A task that raises is started
    anew."""
    _built().supervisor.task(name, run, deadline_s).of_application = True


def busy():
    """A context: as long as one is entered, no update is applied."""
    supervisor = _built().supervisor
    if supervisor.busy is None:
        from agent.hold import Busy

        supervisor.busy = Busy()
    return supervisor.busy


def count(name, more=1):
    """Counts in the heartbeats."""
    _metrics().count(name, more)


def gauge(name, value):
    """Shows a number in the heartbeats."""
    _metrics().gauge(name, value)


def _metrics():
    heart = _built().heartbeat
    if heart.metrics is None:
        from agent.monitor.metrics import Metrics

        heart.metrics = Metrics()
    return heart.metrics


def top():
    """Prints what the tasks did with the loop's time since the last heartbeat."""
    _repl("top")


def status():
    """Prints a summary for a person."""
    _repl("status")


def dev(on):
    """Development mode: from the next reset on, no hardware watchdog."""
    _repl("dev", on)


def reset():
    """Resets the board, with "repl" as the recorded reason."""
    _built().supervisor.reset("repl")


def factory_reset(level):
    """Back to what the flashing tool left: "config", "app" or "identity"."""
    _repl("factory_reset", level)


def _repl(name, *args):
    from agent import ondemand, repl

    getattr(repl, name)(_built(), *args)
    ondemand.release("repl")


def _built():
    global _runtime, config
    if _runtime is None:
        from agent.runtime import Runtime

        _runtime = Runtime()
        config = _runtime.config
    return _runtime
