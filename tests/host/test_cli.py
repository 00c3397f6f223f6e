# SPDX-License-Identifier: MIT
"""The `fleetling` command as a user meets it: help, wrong arguments, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleetling.cli import COMMANDS
from fleetling.demo.story import steps

FLEETLING = [sys.executable, "-m", "fleetling"]
INIT = ("init", "farm", "--broker", "127.0.0.1:18883", "--wifi", "home:secret")


def run(
    *arguments: str, cwd: Path | None = None, passphrase: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLEETLING_")}
    if passphrase is not None:
        environment["FLEETLING_PASSPHRASE"] = passphrase
    return subprocess.run(
        [*FLEETLING, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**environment, "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    made = run(*INIT, "--no-passphrase", cwd=folder)
    assert made.returncode == 0, made.stderr
    return folder


def test_help_names_every_command_and_loads_none() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in COMMANDS)
    code = (
        "import sys; from click.testing import CliRunner; from fleetling.cli import cli;"
        "CliRunner().invoke(cli, ['--help']);"
        "sys.exit(any(name in sys.modules for name in ('cryptography', 'sqlalchemy', 'paho')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    shown = run(name, "--help")
    assert shown.returncode == 0 and "Usage" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nonsense",), 2, "No such command"),
        (("init",), 2, "Missing argument"),
        (("init", "farm"), 2, "--broker"),
        (("init", "farm", "--broker", "host"), 1, "HOST:PORT"),
        (("init", "farm", "--broker", "h:1", "--claims", "h:1"), 1, "--claims"),
        (("init", "farm", "--broker", "h:1"), 1, "FLEETLING_PASSPHRASE"),
        (("init", "farm", "--broker", "h:1", "--wifi", "home"), 1, "SSID:PASSWORD"),
        (("init", "", "--broker", "h:1"), 1, "1 to 40"),
        (("provision",), 1, "--csv"),
        (("provision", "a", "a"), 1, "there twice"),
        (("provision", "A"), 1, "a-z"),
        (("provision", "[/]"), 1, "'[/]'"),
        (("provision", ":x:"), 1, "':x:'"),
        (("init", "farm", "--broker", "b\u00fccher.example:1", "--no-passphrase"), 1, "xn--"),
        (("provision", "a"), 1, "fleetling init"),
        (("provision", "--csv", "none.csv"), 2, "does not exist"),
        (("provision", "a", "--cert", __file__), 1, "--key"),
        (("device", "list"), 1, "fleetling init"),
        (("broker", "config"), 1, "fleetling init"),
        (("hub",), 1, "fleetling init"),
        (("config", "show"), 1, "--group"),
        (("config", "show", "a"), 1, "fleetling init"),
        (("config", "set", "a"), 1, "NAME=VALUE"),
        (("config", "set", "name=x", "--fleet"), 1, "fleetling init"),
        (("config", "edit", "a", "b"), 1, "One layer"),
        (("group", "set", "g"), 2, "Missing argument"),
        (("group", "set", "g", "colour=red"), 1, "character 1"),
        (("device", "tag", "a", "--add", "a b"), 1, "no tag"),
        (("reset", "a"), 2, "--level"),
        (("reset", "a", "--level", "all"), 2, "identity"),
        (("sim", "run", "nowhere"), 1, "fleetling sim new"),
    ],
)
def test_what_a_person_can_do_wrong_is_told(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_fleet_from_init_to_revocation(fleet: Path) -> None:
    assert run(*INIT, "--no-passphrase", cwd=fleet).returncode == 1
    made = run("provision", "a", "b", cwd=fleet)
    assert made.returncode == 0 and "2 provisioned" in made.stdout
    assert "0 provisioned, 2 were already" in run("provision", "a", "b", cwd=fleet).stdout
    listed = json.loads(run("device", "list", "--json", cwd=fleet).stdout)
    assert [(d["id"], d["status"]) for d in listed] == [("a", "expected"), ("b", "expected")]
    shown = run("device", "show", "a", cwd=fleet)
    assert "expected" in shown.stdout
    config = run("broker", "config", cwd=fleet)
    assert config.returncode == 0 and "mosquitto -c" in config.stdout
    text = (fleet / "broker/mosquitto.conf").read_text()
    assert "listener 18883" in text and "listener 8884" in text
    unsure = run("device", "revoke", "a", cwd=fleet)  # nobody answers
    assert unsure.returncode == 130
    assert "expected" in run("device", "show", "a", cwd=fleet).stdout
    assert run("device", "revoke", "a", "--yes", cwd=fleet).returncode == 0
    assert "revoked" in run("device", "show", "a", cwd=fleet).stdout
    assert run("device", "allow-enrol", "a", cwd=fleet).returncode == 0
    assert "once" in run("device", "show", "a", cwd=fleet).stdout
    for command in ("show", "revoke", "allow-enrol"):
        done = run("device", command, "nobody", cwd=fleet)
        assert done.returncode == 1 and "device list" in done.stderr
    secret = (fleet / "secrets/claim-ca.key").read_text().splitlines()[1]
    for done in (made, config, shown):
        assert secret not in done.stdout + done.stderr and "secret" not in done.stdout


def test_the_passphrase_is_asked_of_nobody_but_a_person(tmp_path: Path) -> None:
    assert run(*INIT, cwd=tmp_path, passphrase="short").returncode == 1
    assert run(*INIT, cwd=tmp_path, passphrase="correct horse").returncode == 0
    nobody = run("provision", "a", cwd=tmp_path)
    assert nobody.returncode == 1 and "FLEETLING_PASSPHRASE" in nobody.stderr
    wrong = run("provision", "a", cwd=tmp_path, passphrase="battery staple")
    assert wrong.returncode == 1 and "does not open" in wrong.stderr
    assert run("provision", "a", cwd=tmp_path, passphrase="correct horse").returncode == 0


def test_a_batch_from_a_file(fleet: Path) -> None:
    table = fleet / "boards.csv"
    table.write_text("id\n" + "".join(f"batch-{number}\n" for number in range(20)))
    assert "20 provisioned" in run("provision", "--csv", str(table), cwd=fleet).stdout
    table.write_text("id\nbatch-1\nBatch\n")
    done = run("provision", "--csv", str(table), cwd=fleet)
    assert done.returncode == 1 and "line 3" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_demo_and_leaves_nothing(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*FLEETLING, "demo", "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores SIGINT, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(3)
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in errors
    # One that has ended (Z) is init's to bury: a compiler, if the signal came in its start.
    pgrep = ["pgrep", "--session", str(process.pid), "--runstates", "D,I,R,S,T"]
    until = time.monotonic() + 10
    while subprocess.run(pgrep, capture_output=True, check=False).stdout:
        assert time.monotonic() < until, "left running"
        time.sleep(0.1)


def told_steps(shown: str) -> int:
    return shown.count("\nok  ")


def test_the_demo_in_virtual_time() -> None:
    done = run("demo", "--virtual")
    assert done.returncode == 0, done.stdout + done.stderr
    assert told_steps(done.stdout) == len(steps())
    assert f"All {len(steps())} steps" in done.stdout


def test_without_an_interpreter_the_demo_says_so_and_runs_cpython_boards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "none"))
    done = run("demo")
    assert done.returncode == 0 and told_steps(done.stdout) == len(steps())
    assert "does not run" in done.stderr and "CPython boards" in done.stderr
