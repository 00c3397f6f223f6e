# SPDX-License-Identifier: MIT
"""The `fleetling` command, without the second that its imports take each time.

A server process has all of its modules loaded, and forks for each call: the child has arguments,
environment, files and exit code of its own, as a process that was started from a shell.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["fleetling"]

_lock = threading.Lock()


def fleetling(
    *arguments: str, env: Mapping[str, str], stdin: str = "", timeout_s: int = 90
) -> subprocess.CompletedProcess[str]:
    """Calls it; after `timeout_s` it is ended by SIGALRM (exit code -14)."""
    with tempfile.TemporaryDirectory() as name, _lock:
        files = [Path(name, file) for file in ("stdin", "stdout", "stderr")]
        files[0].write_text(stdin)
        order = {
            "arguments": arguments,
            "env": dict(env),
            "cwd": str(Path.cwd()),
            "files": list(map(str, files)),
            "timeout_s": timeout_s,
        }
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            arguments, code, files[1].read_text(), files[2].read_text()
        )


@cache
def _server() -> subprocess.Popen[str]:
    """Ends with this process, by the end of its input."""
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},  # rich asks for it when it is imported
    )


def _serve() -> None:
    from fleetling.cli import COMMANDS

    for name in COMMANDS:
        importlib.import_module(f"fleetling.cli.{name}")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _be(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _be(order: dict[str, Any]) -> NoReturn:
    code: Any = 1
    try:
        signal.alarm(order["timeout_s"])
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        for number, path in enumerate(order["files"]):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY), number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False)  # noqa: SIM115
            for number, mode in enumerate("rww")
        )
        sys.argv = ["fleetling", *order["arguments"]]
        from fleetling.cli import main

        main()
    except SystemExit as e:
        code = e.code
    except BaseException:  # noqa: BLE001 - as an interpreter does at its end
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve()
