# SPDX-License-Identifier: MIT
"""The `fleetling` command as a user meets it: help, wrong arguments, exit codes, Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import sqlalchemy.exc

from fleetling.cli import COMMANDS
from fleetling.cli.surroundings import told
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
        (("init", "farm", "--broker", "a..b:1"), 1, "HOST:PORT"),
        (("init", "farm", "--broker", f"host:{'9' * 5000}"), 1, "HOST:PORT"),
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
        (("group", "set", "g", "tag=a", "--priority", "9" * 20), 2, "range"),
        (("device", "tag", "a", "--add", "a b"), 1, "no tag"),
        (("events", "--limit", "-1"), 2, "range"),
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
    # As root, mosquitto would become an account of its own, which can read none of it.
    owner = (fleet / "secrets/broker.key").owner()
    assert f"\nuser {owner}\n" in text and not config.stderr
    other = run("broker", "config", "--user", "somebody", cwd=fleet)
    assert other.returncode == 0 and f"{owner}'s" in other.stderr
    assert "listener 18883" in text and "listener 8884" in text
    unsure = run("device", "revoke", "a", cwd=fleet)  # nobody answers
    assert unsure.returncode == 130
    assert "expected" in run("device", "show", "a", cwd=fleet).stdout
    assert run("device", "revoke", "a", "--yes", cwd=fleet).returncode == 0
    assert "revoked" in run("device", "show", "a", cwd=fleet).stdout
    shutil.move(fleet / "boards/a", fleet / "away")  # no folder says that it was here
    gone = run("provision", "a", cwd=fleet)
    assert gone.returncode == 1 and "a was revoked" in gone.stderr and not gone.stdout
    shutil.move(fleet / "away", fleet / "boards/a")
    assert run("device", "allow-enrol", "a", cwd=fleet).returncode == 0
    assert "once" in run("device", "show", "a", cwd=fleet).stdout
    for command in ("show", "revoke", "allow-enrol"):
        done = run("device", command, "nobody", cwd=fleet)
        assert done.returncode == 1 and "device list" in done.stderr
    secret = (fleet / "secrets/claim-ca.key").read_text().splitlines()[1]
    for done in (made, config, shown):
        assert secret not in done.stdout + done.stderr and "secret" not in done.stdout


@pytest.mark.parametrize("name", ["\U0001f331 f\u00e4rm \u5317", "\u00fc" * 27, 'a"b\\c'])
def test_a_fleet_may_have_any_name_that_shows(tmp_path: Path, name: str) -> None:
    made = run("init", name, "--broker", "h:1", "--no-passphrase", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert run("provision", "a", cwd=tmp_path).returncode == 0
    assert tomllib.loads((tmp_path / "fleetling.toml").read_text("utf-8"))["name"] == name


@pytest.mark.parametrize("name", ["\u00fc" * 40, "\U0001f331" * 20, "a\x7fb", "x" * 41])
def test_a_name_that_no_certificate_has_is_refused_at_once(tmp_path: Path, name: str) -> None:
    refused = run("init", name, "--broker", "h:1", "--no-passphrase", cwd=tmp_path)
    assert refused.returncode == 1 and "no name for a fleet" in refused.stderr
    assert "Traceback" not in refused.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "arguments", "words"),
    [
        ("hub.db", b"no database, " * 99, ("device", "list"), "not a database"),
        ("fleetling.toml", b'name = "\xff"\n', ("device", "list"), "cannot be read"),
        ("fleetling.toml", b'broker = "h"\n', ("watch",), "HOST:PORT"),
        ("fleetling.toml", b'broker = "h:x"\n', ("config", "show", "a"), "HOST:PORT"),
        ("fleetling.toml", b'broker = "h:1"\nclaims = "h"\n', ("broker", "config"), "HOST:PORT"),
        ("fleetling.toml", b'broker = "h"\n', ("update", "status"), "HOST:PORT"),
        ("fleetling.toml", b'broker = "h"\n', ("hub",), "HOST:PORT"),
        ("fleetling.toml", b'broker = "a..b:1"\n', ("watch",), "HOST:PORT"),
        ("fleetling.toml", b"days = 5\n", ("provision", "new"), "days is 5"),
        ("secrets/operator.pem", b"spoilt", ("watch",), "backup"),
        ("secrets/operator.key", b"spoilt", ("update", "status"), "backup"),
        ("secrets/fleet-ca.pem", b"spoilt", ("provision", "new"), "not a certificate"),
        ("secrets/hub.key", b"spoilt", ("hub",), "backup"),
        ("secrets/claim-ca.key", b"spoilt", ("provision", "new"), "not a private key"),
        ("secrets/wifi.json", b'["ab"]', ("provision", "new"), "not a list of networks"),
        ("secrets/wifi.json", b"\xff", ("provision", "new"), "not a list of networks"),
        ("boards", b"a file", ("provision", "new"), "boards"),
    ],
)
def test_a_file_that_somebody_spoilt_is_named(
    fleet: Path, tmp_path: Path, file: str, content: bytes, arguments: tuple[str, ...], words: str
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(fleet, folder, ignore=shutil.ignore_patterns("boards", "hub.db*"))
    settings = (folder / "fleetling.toml").read_bytes()
    if file == "fleetling.toml" and b"\xff" not in content:
        # Besides all the others.
        names = [line.partition(b" ")[0] for line in content.splitlines()]
        kept = [each for each in settings.splitlines() if each.partition(b" ")[0] not in names]
        if b"days" in names:
            kept = kept[: kept.index(b"[days]")]
        content += b"\n".join(kept)
    (folder / file).write_bytes(content)
    done = run(*arguments, cwd=folder)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert words in " ".join(done.stderr.split()), done.stderr


def test_a_full_disk_is_told(fleet: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*FLEETLING, "device", "list"],
            cwd=fleet,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1 and "Make room" in done.stderr and "Traceback" not in done.stderr


def test_a_bug_shows_its_trace() -> None:
    assert told(ValueError("x")) is None and told(OSError(errno.EBADF, "x")) is None
    assert told(ssl.SSLError(errno.EPERM, "no shared cipher")) is None
    assert told(sqlalchemy.exc.ProgrammingError("s", {}, Exception("x"))) is None
    known = told(sqlalchemy.exc.OperationalError("s", {"key": "secret"}, Exception("locked")))
    assert known is not None and "locked" in known.message and "secret" not in known.message


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
