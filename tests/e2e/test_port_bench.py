# SPDX-License-Identifier: MIT
"""The commands for a board at the bench, as a person types them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetling import home
from fleetling.cli import main
from fleetling.image.filesystem import read_filesystem
from fleetling.image.flash import first_files
from fleetling.port import install
from fleetling.port.board import Board, session
from fleetling.port.facts import Facts, ask
from fleetling.provision import made_for
from fleetling.simboard.process.board import ProcessBoard

if TYPE_CHECKING:
    from pty_board import Bench

pytest_plugins = ("pty_board",)

FLEETLING = [sys.executable, "-m", "fleetling"]
BARE = {"boot.py": b"# boot.py\n"}
# Already there, it need not be written: that takes most of an installation's time.
PACK = {"slots/factory.pack": first_files("0")["slots/factory.pack"]}
PROGRAM = b'import time\nprint("old program")\nwhile True:\n    time.sleep(1)\n'
CANARY = "canary-7f3a9c"
VFS = slice(0x310000, 0x400000)


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, cwd: Path | None = None) -> Done:
    """The command, in this process: starting another one for each costs a second."""
    out, errors = io.StringIO(), io.StringIO()
    before = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["fleetling", *arguments]
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(errors), chdir(cwd or Path.cwd()):
            main()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGTERM, before[1])
    return Done(code, out.getvalue(), errors.getvalue())


@pytest.fixture(autouse=True)
def a_plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLEETLING_PORT", "ESPTOOL_PORT", "FLEETLING_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    network = f"home:{CANARY}-wifi"
    made = run(
        *("init", "farm", "--broker", "127.0.0.1:1", "--wifi", network, "--no-passphrase"),
        cwd=folder,
    )
    assert made.returncode == 0, made.stderr
    assert run("provision", "pump", "other", cwd=folder).returncode == 0
    return folder


def files(board: Path) -> dict[str, bytes]:
    return read_filesystem((board / "flash.bin").read_bytes()[VFS])


@pytest.mark.slow
def test_from_a_bare_board_to_a_managed_one(bench: Bench, fleet: Path) -> None:
    on = bench(BARE)
    planned = run("install", "-p", on.path, "--dry-run", cwd=fleet)
    assert planned.returncode == 0 and "/slots/factory.pack" in planned.stdout
    done = run("install", "-p", on.path, "--id", "pump", cwd=fleet)
    assert done.returncode == 0, done.stderr
    assert "is now pump" in done.stdout and CANARY not in done.stdout + done.stderr
    with session(on.path) as board:
        assert board.running, "the agent runs"
        known = ask(board)
    assert known.text("id") == "pump" and known.number("dev") == 0
    again = run("install", "-p", on.path, "--id", "pump", cwd=fleet)
    assert "to write" not in again.stdout and "already was pump" in again.stdout
    looked = run("doctor", on.path, "--offline", "--json", cwd=fleet)
    found = {row["check"]: row["state"] for row in json.loads(looked.stdout)}
    assert looked.returncode == 0, looked.stdout
    assert found["agent"] == found["files"] == found["fleet"] == "good"
    assert found["identity"] == "warning" and found["surroundings"] == "skipped"
    dialled = run("doctor", on.path, "--json", cwd=fleet)
    rows = {row["check"]: row for row in json.loads(dialled.stdout)}
    assert dialled.returncode == 1 and "out of reach" in rows["broker"]["text"]
    assert rows["broker"]["remedy"]
    on.board.stop()
    names = set(files(on.board.folder))
    assert not any(name.endswith((".new", "fl-install")) for name in names), names
    assert {"/boot.py", "/main.py", "/slots/factory.pack"} <= names


@pytest.mark.slow
def test_through_ampy_it_ends_the_same(bench: Bench) -> None:
    on = bench({**BARE, **PACK})
    done = run("install", "-p", on.path, "--with", "ampy")
    assert done.returncode == 0, done.stderr
    with session(on.path) as board:
        assert board.running


@pytest.mark.slow
def test_a_program_of_the_users_is_not_lost(bench: Bench) -> None:
    on = bench({**BARE, **PACK, "main.py": PROGRAM})
    asked = run("install", "-p", on.path)
    assert asked.returncode == 1 and "--force" in asked.stderr
    with session(on.path) as board:
        assert board.read("/main.py") == PROGRAM and board.read("/boot.py") == BARE["boot.py"]
    done = run("install", "-p", on.path, "--force")
    assert done.returncode == 0 and "kept as /main.before-fleetling.py" in done.stdout
    with session(on.path) as board:
        assert board.running and board.read("/main.before-fleetling.py") == PROGRAM


class Cut(Exception):
    pass


def cut_before(board: Board, order: int | str) -> None:
    """From an order on, by its number or its beginning, the power is gone; parts of a file do not
    count."""
    run_there = board.run
    number = 0

    def until_then(code: str, silence_s: float = 10) -> bytes:
        nonlocal number
        if "fl.more" not in code and "fl.sha" not in code:
            if number == order or (isinstance(order, str) and code.startswith(order)):
                raise Cut
            number += 1
        return run_there(code, silence_s)

    board.run = until_then  # type: ignore[method-assign]


# The installation gives 20 orders; these two are where the old program and the new files meet.
CUTS = ("os.rename('/main.py.new'", "fl.number('fl_state', 'dev', 0)")
ALL = range(20)


@pytest.mark.slow
@pytest.mark.parametrize("cut", ALL if "FLEETLING_EVERY_CUT" in os.environ else CUTS)
def test_a_cut_leaves_the_old_program_or_the_agent(bench: Bench, cut: int | str) -> None:
    on = bench({**BARE, **({} if isinstance(cut, int) else PACK), "main.py": PROGRAM})
    wanted = install.wanted({}, "0")
    with pytest.raises(Cut), session(on.path) as board:
        made = install.plan(board, ask(board), wanted)
        cut_before(board, cut)
        try:
            install.carry_out(board, made)
        finally:
            on.board.power_cut()
    runs, watched = what_runs(on.board.folder)
    assert runs in ("old program", "agent")
    assert not (runs == "old program" and watched), "a watchdog that the program does not feed"
    on.board.start()
    with session(on.path) as board:
        known: Facts = ask(board)
        install.carry_out(board, install.plan(board, known, wanted))
    on.board.power_cut()
    assert what_runs(on.board.folder) == ("agent", True)
    left = files(on.board.folder)
    assert left["/main.before-fleetling.py"] == PROGRAM
    assert not any(name.endswith((".new", "fl-install")) for name in left)


def what_runs(folder: Path) -> tuple[str, bool]:
    """What a board does after the power comes back, and whether its watchdog is on then."""
    lines: list[str] = []
    board = ProcessBoard(folder, on_line=lines.append)
    board.start()
    for _ in range(600):
        text = "\n".join(lines)
        if "old program" in text or "boot: fleetling" in text:
            time.sleep(0.5)
            life = board._life
            watched = life is not None and life.watchdog_s is not None
            board.stop()
            return ("old program" if "old program" in text else "agent"), watched
        time.sleep(0.1)
    raise AssertionError("\n".join(lines))


@pytest.mark.slow
def test_ctrl_c_in_the_middle_and_again(bench: Bench) -> None:
    on = bench({**BARE, "main.py": PROGRAM})
    command = [*FLEETLING, "install", "-p", on.path, "--force"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    for line in process.stdout:
        if b"to write" in line:
            break
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"Traceback" not in said and b"Run the same command again" in said
    with session(on.path) as board:
        assert board.read("/main.py") == PROGRAM
    assert run("install", "-p", on.path, "--force").returncode == 0
    with session(on.path) as board:
        assert board.running


def test_a_board_becomes_no_other_by_accident(bench: Bench, fleet: Path) -> None:
    on = bench()
    place = home.find(fleet)
    with session(on.path) as board:
        assert install.provision(board, ask(board), made_for(place, "pump"))
        assert not install.provision(board, ask(board), made_for(place, "pump"))
        enrolled = Facts({**ask(board).said, "own_key": True})
        with pytest.raises(Exception, match="has enrolled"):
            install.provision(board, enrolled, made_for(place, "other"))
        assert ask(board).text("id") == "pump"
        assert install.provision(board, ask(board), made_for(place, "other"))
        assert ask(board).text("id") == "other"
        calls: list[str] = []
        store = board.set_blob
        board.set_blob = lambda s, k, d: (calls.append(k), store(s, k, d))  # type: ignore
        install.provision(board, ask(board), made_for(place, "pump"))
        assert calls[0] == calls[-1] == "id", "by half it must be not at all"


def test_what_is_pulled_has_no_secret(bench: Bench, fleet: Path, tmp_path: Path) -> None:
    values = made_for(home.find(fleet), "pump")
    on = bench(nvs=(fleet / "boards/pump/nvs.bin").read_bytes())
    with session(on.path) as board:
        # As if an application had raised; and what stays on the board is next to what is pulled.
        board.write("/fl/crash", json.dumps({"again": 0, "error": "ValueError"}).encode())
        board.write("/fl/secret", CANARY.encode())
    out = tmp_path / "out"
    pulled = run("pull", str(out), "-p", on.path)
    assert pulled.returncode == 0, pulled.stderr
    names = {path.name for path in out.rglob("*")}
    assert {"board.json", "settings.json", "log.txt", "crash.json", "events.jsonl"} <= names
    assert "fleetling" in (out / "log.txt").read_text()
    settings = json.loads((out / "settings.json").read_text())
    assert settings["settings"]["ntp"] and settings["hidden"] == ["wifi"]
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    everything += (pulled.stdout + pulled.stderr).encode()
    for secret in (CANARY.encode(), values["claim_key"]):
        assert secret not in everything and secret.hex().encode() not in everything
    refused = run("pull", str(out), "-p", on.path)
    assert refused.returncode == 1 and "not empty" in refused.stderr


@pytest.mark.slow
def test_development_mode_and_a_reset_at_the_bench(bench: Bench, fleet: Path) -> None:
    on = bench(nvs=(fleet / "boards/pump/nvs.bin").read_bytes())

    def status() -> object:
        return json.loads(run("dev", "status", "--json", "-p", on.path).stdout)

    assert status() == {"development": False, "watchdog": True}
    told = run("dev", "on", "-p", on.path)
    assert told.returncode == 0 and "--reset" in told.stderr
    assert run("dev", "on", "--reset", "-p", on.path).returncode == 0
    assert status() == {"development": True, "watchdog": False}
    assert run("reset", "--level", "app", "--yes").returncode == 2
    assert run("reset", "a", "-p", on.path, "--level", "app", "--yes").returncode == 2
    assert "--yes" in run("reset", "-p", on.path, "--level", "app", cwd=fleet).stderr
    done = run("reset", "-p", on.path, "--level", "identity", "--yes", cwd=fleet)
    assert done.returncode == 0 and done.stdout == "pump: resets\n"
    bench.until(lambda: status() == {"development": False, "watchdog": True}, "it is reset")


def test_what_a_person_can_do_wrong(bench: Bench, tmp_path: Path) -> None:
    on = bench(BARE)
    for arguments, words in (
        (("install", "-p", "/dev/ttyNONE"), "There is no port"),
        (("doctor", "-p", "nonsense://x"), "is no port"),
        (("console", "-p", "/dev/ttyNONE"), "There is no port"),
        (("dev", "on", "-p", on.path), "fleetling install"),
        (("reset", "-p", on.path, "--level", "app", "--yes"), "fleetling install"),
        (("install", "-p", on.path, "--app", str(tmp_path)), "no app.py"),
        (("install", "-p", on.path, "--id", "pump"), "fleetling init"),
    ):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 1, done
        assert words in done.stderr + done.stdout and "Traceback" not in done.stderr
