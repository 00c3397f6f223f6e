# SPDX-License-Identifier: MIT
"""A Ctrl-C while a child process starts leaves none behind, and one in a finalizer is heard."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fleetling.broker import process as broker_process
from fleetling.broker.fleet import broker_files
from fleetling.broker.process import LocalBroker, free_port
from fleetling.demo.fleet import TemporaryFleet
from fleetling.home import find


def test_a_broker_that_is_not_ready_yet_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broker = TemporaryFleet(tmp_path).broker
    seen = []

    def interrupted(port: int) -> bool:
        assert broker._process is not None
        seen.append(broker._process)
        raise KeyboardInterrupt

    monkeypatch.setattr(broker_process, "_listens", interrupted)
    with pytest.raises(KeyboardInterrupt), broker:
        pass
    assert [child.returncode for child in seen] != [None] and not broker.running


PATIENCE_S = 120

# A command whose first wait, and not one while it starts others, is in a finalizer.
CHILD = """
import os, sys, threading, time
from fleetling.cli import main

class Finalized:
    def __del__(self):
        os.write(1, b"in a finalizer\\n")
        wait(600)

def first(seconds):
    waits = seconds >= 0.1 and threading.current_thread() is threading.main_thread()
    if waits and not once:
        once.append(Finalized)
        Finalized()

def sleep(seconds):
    first(seconds)
    wait(seconds)

def held(self, timeout=None):
    first(timeout or 0)
    return hold(self, timeout)

once, wait, time.sleep = [], time.sleep, sleep
hold, threading.Condition.wait = threading.Condition.wait, held
main()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet on free ports, and a simulated board."""
    folder = tmp_path_factory.mktemp("interrupted")
    port, claims = free_port(), free_port()
    new = ["init", ".", "--broker", f"127.0.0.1:{port}", "--claims", f"127.0.0.1:{claims}"]
    for arguments in ([*new, "--no-passphrase"], ["sim", "new", "board", "--bare"]):
        command = [sys.executable, "-m", "fleetling", *arguments]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def interrupted(place: Path, *arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the command after a Ctrl-C in a finalizer."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        too_late = threading.Timer(PATIENCE_S, process.kill)
        too_late.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line == "in a finalizer\n":
                    break
            too_late.cancel()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("broker", "run"), 130, id="broker"),
        pytest.param(("sim", "run", "board"), 0, id="sim"),
        pytest.param(("demo", "--plain"), 130, id="demo", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_in_a_finalizer_is_heard(
    place: Path, arguments: tuple[str, ...], code: int
) -> None:
    """Python forgets what is raised there."""
    assert interrupted(place, *arguments)[0] == code


# littlefs is C, and calls back into Python for each block.
CALLBACK = """
import time
from littlefs import LittleFS, UserContext
from fleetling.cli.interrupted import heard_everywhere

class Interrupted(UserContext):
    def prog(self, cfg, block, off, data):
        raise KeyboardInterrupt

try:
    with heard_everywhere():
        try:
            LittleFS(context=Interrupted(65536), block_count=16)
        except Exception:
            pass
        time.sleep(20)
except KeyboardInterrupt:
    print("heard")
"""


def test_ctrl_c_in_a_callback_of_c_is_heard_and_shows_no_trace() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLBACK],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")


@pytest.mark.slow
def test_watch_and_hub_end_at_the_first_ctrl_c(place: Path) -> None:
    with LocalBroker(broker_files(find(place)), place / "broker"):
        code, _, errors = interrupted(place, "watch")
        assert code == 130 and "Traceback" not in errors
        hub = subprocess.Popen(
            [sys.executable, "-m", "fleetling", "hub"],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert hub.stderr is not None
        for line in hub.stderr:
            if "on the broker" in line:
                break
        hub.send_signal(signal.SIGINT)
        out, errors = hub.communicate(timeout=60)
        assert hub.returncode == 0 and "Stopped; 0 requests" in out and "Traceback" not in errors
