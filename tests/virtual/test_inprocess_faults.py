# SPDX-License-Identifier: MIT
"""What the CPython board got wrong once, beside the real interpreter or in its own defences."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest
from both_boards import said_by_both

from fleetling.simboard.inprocess import Board, Net

ERRNO = """
import esp32
def number(call):
    try: call()
    except OSError as e: return e.errno, e.args[0]
def fails(*args): raise OSError(*args)
print(number(lambda: fails(5)), number(lambda: fails(-202)), number(lambda: fails(110, "x")))
print(number(lambda: open("/none")), number(lambda: esp32.Partition("nope")))
"""

MAIN_TASK = """
import asyncio
async def bad(): raise KeyError("k")
async def good():
    await asyncio.sleep(0.05)
    return 5
try: asyncio.run(bad())
except KeyError: print("raised once")
print(asyncio.run(good()))
async def later():
    try: await asyncio.wait_for(bad(), 1)
    except KeyError: print("through wait_for")
asyncio.run(later())
"""

LINES = """
with open("/t", "w") as f: print(f.write("h\\u00e9llo\\n\\nlast"))
with open("/t", "rb") as f: print(f.readline(2), f.readline(100), f.readline(), f.readline(3))
with open("/t") as f: print(f.readline(1), len(f.readlines()))
"""

DYNAMIC = """
space = {}
exec("x = 3\\nwhile x: x -= 1", space)
print(space["x"], eval("1 + 1"), eval("pow(3, -1, 7)"))
def inside():
    exec("made = 5")
    return eval("outer * 2")
outer = 21
print(inside())
print(eval(compile("4 + 4", "name", "eval")), eval("y + 1", {"y": 1}))
try: eval(" 1")
except SyntaxError: print("indented")
try: exec("import pathlib", {})
except ImportError: print("refused")
"""


@pytest.mark.parametrize(
    "snippet",
    [
        pytest.param(ERRNO, id="errno"),
        pytest.param(MAIN_TASK, id="main-task"),
        pytest.param(LINES, id="lines"),
        pytest.param(DYNAMIC, id="dynamic"),
    ],
)
def test_both_boards_agree_on(snippet: str, tmp_path: Path) -> None:
    here, there = said_by_both(snippet, tmp_path)
    assert here == there


@pytest.mark.parametrize(
    "loop",
    [
        "exec('while True: pass')",
        "exec(compile('while True: pass', 'x', 'exec'))",
        "exec('def f():\\n    while True: pass')\nf()",
    ],
)
def test_the_watchdog_bites_in_code_made_at_run_time(loop: str) -> None:
    with Board(
        files={"main.py": f"import machine\nmachine.WDT(timeout=5000)\n{loop}".encode()}
    ) as b:
        assert b.boot(60).reason == "wdt"


def test_five_hundred_boards_leave_no_thread_whether_closed_or_dropped() -> None:
    before = threading.active_count()
    for number in range(500):
        board = Board(files={"main.py": b"import time\nwhile True: time.sleep(1)"}, seed=number)
        board.boot(2)
        if number % 2:
            board.close()
    del board
    gc.collect()
    assert threading.active_count() <= before


def test_what_nobody_awaits_is_printed_once() -> None:
    main = """
import asyncio
async def bad(): raise ValueError("unseen")
async def main():
    asyncio.create_task(bad())
    await asyncio.sleep(1)
asyncio.run(main())
"""
    with Board(files={"main.py": main.encode()}) as b:
        b.boot(5)
        assert b.console.count("Task exception wasn't retrieved") == 1
        assert b.console.count("ValueError: unseen") == 1


def test_lost_wifi_stalls_a_connection_and_hides_names() -> None:
    net = Net()

    async def clock(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"tick\n")
            await asyncio.sleep(1)

    net.host("clock.lan", 80, clock)
    main = """
import asyncio, network, time
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("net", "password")
while not wlan.isconnected(): time.sleep(0.1)
async def main():
    reader, writer = await asyncio.open_connection("clock.lan", 80)
    while True:
        try: print(await asyncio.wait_for(reader.readline(), 10))
        except asyncio.TimeoutError: break
    print("silence")
    try: await asyncio.open_connection("clock.lan", 80)
    except OSError as e: print("no name", e.errno)
asyncio.run(main())
"""
    with Board(files={"main.py": main.encode()}, net=net) as b:
        b.air.add("net", "password")
        b.at(20, lambda: b.air.points[0].update(up=False))
        b.boot(60)
        assert b.console.count("tick") > 5
        assert "silence\nno name -202" in b.console
