# SPDX-License-Identifier: MIT
"""Fleetling's agent. `main.py` calls `main()`; at the REPL, `agent.status()` says how it is.

This module alone keeps a module-level variable, `_runtime`: what the REPL asks after Ctrl-C.
"""

_runtime = None


def main():
    """Runs the agent until a reset, or until Ctrl-C gives the prompt back."""
    import asyncio

    runtime = _built()
    try:
        asyncio.run(runtime.run())
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C. agent.status() tells how things stand.")
        if not runtime.development:
            print("The watchdog still runs, and resets the board within a minute.")
            print("To work here in peace: agent.dev(True), then agent.reset()")
    finally:
        asyncio.new_event_loop()


def status():
    """Prints a summary for a person."""
    for line in _built().summary():
        print(line)


def dev(on):
    """Development mode: from the next reset on, no hardware watchdog."""
    _built().set_development(on)
    state = "on" if on else "off"
    print("Development mode is {} from the next reset on: agent.reset()".format(state))


def reset():
    """Resets the board, with "repl" as the recorded reason."""
    _built().supervisor.reset("repl")


def _built():
    global _runtime
    if _runtime is None:
        from agent.runtime import Runtime

        _runtime = Runtime()
    return _runtime
