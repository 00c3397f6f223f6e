# SPDX-License-Identifier: MIT
"""Applications that fail in every way they can, on a whole board: told, limited, and never the
end of the board."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from test_settings import wish

from fleetling.demo.virtual import START, VirtualFleet
from fleetling.simboard.inprocess import Board
from fleetling.simboard.inprocess.flashing import write_file

BOOT_S = 20
CANARY = "canary-3c1d7"


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def app(body: str, top: str = "") -> dict[str, bytes]:
    """An application with this body of `main(task)`."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return {"app.py": f"import agent\n{top}\nasync def main(task):\n{lines}".encode()}


def events(fleet: VirtualFleet, code: str) -> list[dict[str, Any]]:
    found = {e["seq"]: e for e in fleet.documents("up/event") if e["code"] == code}
    return [found[number] for number in sorted(found)]


def online(fleet: VirtualFleet) -> bool:
    return bool(fleet.documents("dev/online")[-1]["online"])


def in_safe_mode(fleet: VirtualFleet) -> bool:
    mode: str = fleet.documents("up/birth")[-1]["mode"]
    return mode == "safe"


GOOD = app(
    "agent.task('second', second, deadline_s=5)\n"
    "while True:\n"
    "    with agent.busy(), agent.busy():\n"
    "        agent.count('rounds')\n"
    "        agent.gauge('busy', agent.busy().count)\n"
    "    agent.gauge('speed', agent.config['rate'])\n"
    "    await task.sleep(1)\n",
    "async def second(task):\n    while True:\n        await task.sleep(1)\n",
)
GOOD["settings.json"] = json.dumps({"rate": {"type": "float", "default": 1.5}}).encode()


def test_a_good_one_runs_counts_and_is_measured(fleet: VirtualFleet) -> None:
    with fleet.board(app=GOOD) as board:
        board.boot(200)
        health = fleet.documents("up/health")[-1]
        assert health["counts"]["rounds"] > 150 and health["gauges"] == {"speed": 1.5, "busy": 2}
        assert {"app", "second", "link"} <= set(health["tasks"]) and health["m"]["rssi"][1] < 0
        birth = fleet.documents("up/birth")[-1]
        assert birth["mode"] == "normal" and birth["app"] == "1.0.0"
        assert not events(fleet, "crash") and board.lives == 1
        board.interrupt()
        board.resume(1)
        shown = board.repl("import agent; agent.top()", 5)
        assert "second" in shown and "heap" in shown and "broker" in shown


FAULTS = {
    "at import": ("x = 1", "raise ValueError('import')", "ValueError"),
    "bad syntax": ("x = 1", "def (", "SyntaxError"),
    "at once": ("raise ValueError('start')", "", "ValueError"),
    "after ten seconds": ("await task.sleep(10)\nraise OSError(5)", "", "OSError"),
    "memory": ("raise MemoryError('memory allocation failed')", "", "MemoryError"),
    "recursion": ("deep(0)", "def deep(n):\n    return deep(n + 1)\n", "R"),
    "sys.exit": ("import sys\nsys.exit(1)", "", "SystemExit"),
    "sys.exit at import": ("x = 1", "import sys\nsys.exit()", "SystemExit"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_one_that_goes_on_failing_ends_in_safe_mode_and_the_board_stays(
    fleet: VirtualFleet, fault: str
) -> None:
    body, top, error = FAULTS[fault]
    with fleet.board(app=app(body, top)) as board:
        board.run(400)
        assert online(fleet) and in_safe_mode(fleet), board.console[-2000:]
        assert board.lives == 4  # three bad ones, then safe mode
        crash = events(fleet, "crash")[0]
        assert crash["task"] == "app" and crash["error"].startswith(error)
        (record, *_) = fleet.documents("up/crash")
        assert record["error"] == crash["error"] and record["task"] == "app"
        assert record["trace"] == [] or record["trace"][-1][0] == "app.py" or fault == "bad syntax"
        safe = events(fleet, "safe-mode")
        assert safe[0]["on"] is True and safe[0]["why"] == "crash app"
        fleet.command("dev", "ping", START + 100_000)
        board.resume(3)
        assert fleet.documents("up/reply")[-1]["status"] == "ok"


def test_a_new_start_ends_the_tasks_of_the_last(fleet: VirtualFleet) -> None:
    body = (
        "agent.task('other', other, deadline_s=5)\nawait task.sleep(100)\nraise ValueError('x')\n"
    )
    top = (
        "async def other(task):\n"
        "    try:\n"
        "        while True:\n"
        "            await task.sleep(1)\n"
        "    finally:\n"
        "        print('other ends')\n"
    )
    with fleet.board(app=app(body, top)) as board:
        board.run(350)
        crashes = events(fleet, "crash")
        assert len(crashes) == 3 and {crash["error"] for crash in crashes} == {"ValueError"}
        assert board.console.count("other ends") == 3 and board.lives == 1


def test_a_sleep_may_be_longer_than_ticks_reach(fleet: VirtualFleet) -> None:
    with fleet.board(app=app("await task.sleep(30 * 86400)")) as board:
        board.boot(60)
        assert not events(fleet, "crash") and online(fleet)


def test_a_module_without_main_is_told(fleet: VirtualFleet) -> None:
    with fleet.board(app={"app.py": b"x = 1\n"}) as board:
        board.run(400)
        assert online(fleet) and in_safe_mode(fleet)
        assert events(fleet, "crash")[0]["error"] == "AttributeError"


def test_a_task_that_waits_for_ever_is_named(fleet: VirtualFleet) -> None:
    hung = "import asyncio\nawait task.sleep(70)\nawait asyncio.Event().wait()"
    with fleet.board(app=app(hung)) as board:
        board.run(200)
        boots = events(fleet, "boot")
        assert boots[1]["why"] == "starved" and boots[1]["task"] == "app"
        (record, *_) = fleet.documents("up/crash")
        assert record["error"] == "starved" and record["task"] == "app"
        assert online(fleet)


def test_a_tight_loop_is_ended_by_the_watchdog_and_named(fleet: VirtualFleet) -> None:
    with fleet.board(app=app("await task.sleep(8)\nwhile True:\n    pass")) as board:
        board.run(120)  # long enough for a first heartbeat, which brings the record along
        boots = events(fleet, "boot")
        assert boots[1]["cause"] == "watchdog"
        assert boots[1]["why"] == "hung" and boots[1]["task"] == "app"
        (record, *_) = fleet.documents("up/crash")
        assert record["error"] == "hung" and record["task"] == "app" and record["boot"] == 1
        board.run(400)
        assert in_safe_mode(fleet) and online(fleet)


def test_a_spoilt_crash_record_is_passed_over(fleet: VirtualFleet) -> None:
    with fleet.board(app=GOOD) as board:
        board.run(30)
        board.power_cycle()
        write_file(board.flash, "/fl/crash", b'{"again": 0, "err\xff')
        board.run(150)
        assert board.lives == 2 and not events(fleet, "crash")
        assert len(fleet.documents("up/health")) > 2 and not fleet.documents("up/crash")


def test_long_work_that_checks_in_is_no_hang(fleet: VirtualFleet) -> None:
    works = (
        "for _ in range(100):\n    task.alive()\n    await task.sleep(1)\nawait task.sleep(900)"
    )
    with fleet.board(app=app(works)) as board:
        board.run(300)
        assert board.lives == 1


def test_a_closed_socket_is_opened_again(fleet: VirtualFleet) -> None:
    nasty = (
        "while True:\n    await task.sleep(30)\n    agent._runtime.session.mqtt.writer.s.close()\n"
    )
    with fleet.board(app=app(nasty)) as board:
        board.run(200)
        assert board.lives == 1 and len(fleet.documents("up/birth")) > 3
        assert fleet.documents("up/health")


def test_one_crash_an_hour_is_told_and_costs_no_reset(fleet: VirtualFleet) -> None:
    with fleet.board(app=app("await task.sleep(1000)\nraise ValueError('now and then')")) as board:
        board.run(8000)
        assert board.lives == 1 and len(events(fleet, "crash")) == 7
        assert len(fleet.documents("up/crash")) >= 7
        assert not in_safe_mode(fleet)


def test_the_same_crash_again_is_counted_in_its_record(fleet: VirtualFleet) -> None:
    fleet.host.refuse = True  # nothing can be sent yet
    with fleet.board(app=app("raise ValueError('x')")) as board:
        board.run(60)
        fleet.host.refuse = False
        board.run(400)
        (record, *_) = fleet.documents("up/crash")
        assert record["again"] >= 3 and record["boot"] == 1


def test_a_secret_that_is_raised_is_struck_out(fleet: VirtualFleet) -> None:
    files = app(
        "agent._runtime.log.info('app', agent.config['token'])\n"
        "raise ValueError('no such token: ' + agent.config['token'])"
    )
    files["settings.json"] = json.dumps(
        {"token": {"type": "str", "default": "", "secret": True}}
    ).encode()
    with fleet.board(app=files) as board:
        board.boot(2)
        wish(fleet, 1, {"app.token": CANARY})
        board.run(60)
        fleet.command("dev", "reboot", START + 100_000)
        board.run(300)
        said = b"".join(m.payload for m in fleet.seen if "/up/" in m.topic).decode()
        assert "no such token: ***" in said and CANARY not in said


def crash_loop(fleet: VirtualFleet) -> Board:
    files = app(
        "if agent.config['rate'] < 5:\n"
        "    raise ValueError('too slow')\n"
        "while True:\n"
        "    await task.sleep(1)\n"
    )
    files["settings.json"] = json.dumps({"rate": {"type": "int", "default": 1}}).encode()
    board = fleet.board(app=files)
    board.run(120)
    assert in_safe_mode(fleet) and board.lives == 4
    return board


def test_safe_mode_is_left_by_a_change_of_settings(fleet: VirtualFleet) -> None:
    with crash_loop(fleet) as board:
        wish(fleet, 1, {"app.rate": 9})
        board.run(100)
        assert board.lives == 5 and not in_safe_mode(fleet)
        assert [e["on"] for e in events(fleet, "safe-mode")] == [True, False]
        assert "app" in fleet.documents("up/health")[-1]["tasks"]


def test_a_trial_is_not_cut_short_by_safe_mode(fleet: VirtualFleet) -> None:
    with crash_loop(fleet) as board:
        fleet.air.add("other", "another password")
        wish(fleet, 1, {"app.rate": 9, "wifi": [["other", "another password"]], "trial_s": 60})
        board.run(120)
        assert not in_safe_mode(fleet)
        assert fleet.documents("up/reported")[-1]["reverted"] is False
        assert fleet.documents("up/reported")[-1]["version"] == 1


def test_safe_mode_is_left_by_command(fleet: VirtualFleet) -> None:
    with crash_loop(fleet) as board:
        assert "resume" in fleet.documents("up/birth")[-1]["commands"]
        fleet.command("dev", "resume", START + 100_000)
        board.run(5)
        assert not in_safe_mode(fleet) and board.lives == 5
        board.run(120)
        assert in_safe_mode(fleet)  # nothing was mended


def test_safe_mode_outlasts_a_wanted_reset_and_a_loss_of_power_does_not(
    fleet: VirtualFleet,
) -> None:
    with crash_loop(fleet) as board:
        fleet.command("dev", "reboot", START + 100_000)
        board.run(30)
        assert in_safe_mode(fleet) and board.lives == 5
        board.power_cycle()
        board.run(5)
        assert not in_safe_mode(fleet)  # someone has pulled the plug: three tries again


def test_the_delay_grows_with_each_time(fleet: VirtualFleet) -> None:
    with crash_loop(fleet) as board:
        entered = [board.now]
        for _ in range(3):
            lives = board.lives
            while board.lives < lives + 2:  # one try of the application, then safe mode again
                board.run(20)
            entered.append(board.now)
        delays = [b - a for a, b in pairwise(entered)]
        assert 500 < delays[0] < 800 and 1100 < delays[1] < 1400 and 2300 < delays[2] < 2600
        assert in_safe_mode(fleet)


def test_a_supply_that_breaks_down_six_times_ends_in_safe_mode(fleet: VirtualFleet) -> None:
    with fleet.board(app=GOOD) as board:
        for boot in range(1, 8):
            board.power_cycle()
            board.boot(10)
            assert in_safe_mode(fleet) is (boot >= 6), boot
        board.power_cycle()


def test_a_boot_that_lasts_makes_good_for_the_short_ones(fleet: VirtualFleet) -> None:
    with fleet.board(app=GOOD) as board:
        for _ in range(4):
            for seconds in (10, 10, 10, 10, 100):
                board.power_cycle()
                board.boot(seconds)
                assert not in_safe_mode(fleet)


def test_wakes_from_deep_sleep_are_no_bad_boots(fleet: VirtualFleet) -> None:
    sleeps = "import machine\nawait task.sleep(8)\nmachine.deepsleep(20000)"
    with fleet.board(app=app(sleeps)) as board:
        board.run(600)
        assert board.lives > 15 and not in_safe_mode(fleet)


def test_an_application_that_resets_the_board_for_ever_is_stopped(fleet: VirtualFleet) -> None:
    with fleet.board(app=app("import machine\nawait task.sleep(3)\nmachine.reset()")) as board:
        board.run(60)
        assert in_safe_mode(fleet) and board.lives == 4
        assert events(fleet, "boot")[1]["why"] == "panic"


def test_what_it_has_left_behind_is_gone_when_it_starts_again(fleet: VirtualFleet) -> None:
    files = app(
        "heard = bytearray(1000)\n"
        "agent.config.on_change(['rate'], lambda: print('heard by', task.restarts, len(heard)))\n"
        "await task.sleep(10 if task.restarts < 2 else 10_000)\n"
        "raise ValueError('again')\n"
    )
    files["settings.json"] = json.dumps({"rate": {"type": "int", "default": 1}}).encode()
    with fleet.board(app=files) as board:
        board.boot(60)
        wish(fleet, 1, {"app.rate": 9})
        board.resume(10)
        assert board.console.count("heard by") == 1, board.console


def fails_once_beside(second: str) -> dict[str, bytes]:
    """An application that has a second task, raises after nine seconds, and then no more."""
    return app(
        "agent.task('second', second)\nawait task.sleep(9 + 10_000 * task.restarts)\nx = 1 / 0",
        second,
    )


STUBBORN = {
    "with sleeps": "await task.sleep(1)",
    "with sleeps of its own": "await asyncio.sleep(1 + (task.alive() or 0))",
}


@pytest.mark.parametrize("pause", STUBBORN.values(), ids=STUBBORN)
def test_a_task_of_it_that_does_not_let_itself_be_ended_ends_in_a_reset(
    fleet: VirtualFleet, pause: str
) -> None:
    """Else each failure of the application would leave one more, which nobody watches."""
    second = (
        "import asyncio\n"
        "async def second(task):\n"
        "    while True:\n"
        "        try:\n"
        f"            {pause}\n"
        "        except BaseException:\n"
        "            print('stays')\n"
    )
    files = fails_once_beside(second)
    with fleet.board(app=files) as board:
        board.boot(15)
        assert "stays" in board.console and board.lives == 1
        board.run(55)
        assert board.lives == 2, board.console
        (event,) = [e for e in events(fleet, "boot") if e["boot"] == 2]
        assert (event["why"], event["task"]) == ("starved", "second (ended)")


def test_a_task_of_it_may_clean_up_when_it_ends(fleet: VirtualFleet) -> None:
    second = (
        "async def second(task):\n"
        "    try:\n"
        "        while True:\n"
        "            await task.sleep(1)\n"
        "    finally:\n"
        "        await task.sleep(5)\n"
        "        print('cleaned')\n"
    )
    files = fails_once_beside(second)
    with fleet.board(app=files) as board:
        board.boot(300)
        assert board.console.count("cleaned") == 1 and board.lives == 1
        assert "second" in fleet.documents("up/health")[-1]["tasks"]


ENDINGS = {
    "returns": "    except BaseException:\n        return\n",
    "raises": "    finally:\n        raise OSError(5)\n",
    "cannot": "    except ValueError:\n        pass\n",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_task_of_it_however_it_ends_takes_no_other_with_it(
    fleet: VirtualFleet, ending: str
) -> None:
    second = (
        "async def second(task):\n"
        "    try:\n"
        "        while True:\n"
        "            agent.count('seconds')\n"
        "            await task.sleep(1)\n" + ending
    )
    files = fails_once_beside(second)
    with fleet.board(app=files) as board:
        board.boot(196)
        beats = fleet.documents("up/health")
        assert "second" in beats[-1]["tasks"], board.console
        counted = beats[-1]["counts"]["seconds"] - beats[-2]["counts"]["seconds"]
        assert 58 <= counted <= 62, (counted, board.console)  # one of them runs


@pytest.mark.parametrize("name", ["n" * 200, "Füllstandsüberwachung" * 4, '"' * 60])
def test_one_that_hangs_is_named_however_long_its_name_is(fleet: VirtualFleet, name: str) -> None:
    hang = "async def hang(task):\n    import asyncio\n    await asyncio.sleep(10_000)\n"
    with fleet.board(
        app=app(f"agent.task({name!r}, hang)\nawait task.sleep(9000)", hang)
    ) as board:
        board.run(100)
        ends = [e for e in events(fleet, "boot") if e["boot"] > 1]
        assert ends and ends[0]["why"] == "starved", (ends, board.console)
        assert name.startswith(ends[0]["task"]) and len(ends[0]["task"]) >= 20
