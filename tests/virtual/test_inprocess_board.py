# SPDX-License-Identifier: MIT
"""The CPython board: lives, resets, cuts, time, network; the same run for the same seed."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from fleetling.pki import make_authority
from fleetling.simboard.inprocess import Board, Deadlock, Host, Net, ServerTls


def board(main: str, **options: object) -> Board:
    files = {"main.py": main.encode()}
    return Board(files=files, **options)  # type: ignore[arg-type]


CAUSES = """
import machine
rtc = machine.RTC()
told = rtc.memory()
print("cause", machine.reset_cause(), told)
rtc.memory(told + b"x")
"""


def test_a_reset_ends_the_life_and_rtc_memory_outlives_it() -> None:
    with board(
        CAUSES + "if len(told) < 1: machine.reset()\nif len(told) < 2: machine.soft_reset()"
    ) as b:
        outcomes = b.run(60)
        assert [o.reason for o in outcomes] == ["reset", "reset", "time"]
        assert [o.cause for o in outcomes[:2]] == [2, 5]
        for line in ("cause 1 b''", "cause 2 b'x'", "cause 5 b'xx'"):
            assert line in b.console
        b.power_cycle()
        b.boot()
        assert b.console.count("cause 1 b''") == 2


@pytest.mark.parametrize(
    "loop",
    [
        "while True: pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import time\ntime.sleep(100)",
        "import asyncio\nasyncio.run(asyncio.sleep(100))",
    ],
)
def test_the_watchdog_bites_whatever_the_board_does(loop: str) -> None:
    with board("import machine\nmachine.WDT(timeout=5000)\n" + loop) as b:
        outcome = b.boot()
        assert outcome.reason == "wdt" and outcome.cause == 3
        assert 5 <= outcome.at < 5.5


def test_deep_sleep_wakes_and_says_so() -> None:
    with board(CAUSES + "if told == b'': machine.deepsleep(7000)") as b:
        b.run(20)
        assert "cause 4 b'x'" in b.console and b.lives == 2


def test_the_same_seed_gives_the_same_run_to_the_byte() -> None:
    main = """
import os, asyncio, time
async def work(name):
    for _ in range(5):
        await asyncio.sleep(os.urandom(1)[0] / 100)
        print(name, time.ticks_ms())
        with open("/" + name, "a") as file: file.write("x" * os.urandom(1)[0])
async def main(): await asyncio.gather(work("a"), work("b"))
asyncio.run(main())
"""
    runs = []
    for seed in (1, 1, 2):
        with board(main, seed=seed) as b:
            b.boot()
            runs.append((b.console, b.image()))
    assert runs[0] == runs[1] and runs[0] != runs[2]


WRITER = """
for number in range(3):
    with open("/data", "w") as file: file.write("version {}".format(number) * 40)
"""


@pytest.mark.parametrize("torn", [None, -1, 1, b"\x35"])
def test_a_cut_at_each_operation_leaves_a_whole_file(torn: int | bytes | None) -> None:
    with board(WRITER) as b:
        fresh, first = b.snapshot(), b.flash.operations
        b.boot()
        wanted = {f"version {number}".encode() * 40 for number in range(3)} | {b""}
        cuts = 0
        for operation in range(first + 1, b.flash.operations + 1):
            b.restore(fresh)
            b.cut_at(operation, torn)
            cuts += b.boot().reason == "power-cut"
            assert b.files().get("/data", b"") in wanted, operation
        assert cuts > 5


def test_a_paused_board_goes_on_where_it_was() -> None:
    with board("import time\nfor n in range(5):\n    time.sleep(10)\n    print('at', n)") as b:
        assert b.boot(25).reason == "time" and b.now == 25
        assert "at 1" in b.console and "at 2" not in b.console
        assert b.resume(lambda: "at 3" in b.console).reason == "predicate"
        assert 40 <= b.now < 41


def test_ctrl_c_leads_to_a_prompt() -> None:
    with board("value = 7\nwhile True: pass") as b:
        b.boot(1)
        b.interrupt()
        b.resume(1)
        assert "KeyboardInterrupt" in b.console
        assert b.repl("print(value * 6)") == "42\n"


def test_boot_py_that_raises_keeps_main_py_from_running() -> None:
    with Board(files={"boot.py": b"1 / 0", "main.py": b"print('main')"}) as b:
        b.boot()
        assert "ZeroDivisionError" in b.console and "main\n" not in b.console


def test_a_corrupt_file_system_never_reaches_boot_py() -> None:
    with board("print('main')") as b:
        b.flash.store.write(0x310000, bytes(range(256)) * 32)
        assert b.boot(60).reason == "corrupt-filesystem"
        assert "corrupted" in b.console and "main\n" not in b.console


def test_a_blank_partition_is_formatted_and_a_blank_first_block_is_not() -> None:
    with board("print('main')") as b:
        b.flash.store.write(0x310000, b"\xff" * 0x1000)  # littlefs has its root twice
        b.boot()
        assert "main" in b.console
        b.power_cycle()
        b.flash.store.write(0x310000, b"\xff" * 0x2000)
        b.boot()
        assert list(b.files()) == ["/boot.py"]


def test_device_code_has_what_the_firmware_has_and_nothing_else() -> None:
    with board(
        "print(pow(3, -1, 7))\n"
        "for name in ('pathlib', 'typing', 'hmac', 'socketserver', 'fleetling'):\n"
        "    try:\n        __import__(name)\n        print('got', name)\n"
        "    except ImportError as e: print(e)\n"
        "import hashlib, sys, time\n"
        "print(hasattr(hashlib, 'sha512'), sys.implementation.name, sys.platform)\n"
        "print(time.gmtime(0)[0], time.time() < 900000000)"
    ) as b:
        b.boot()
        assert "0\n" in b.console and "got" not in b.console
        assert b.console.count("no module named '") == 5
        assert "False micropython esp32" in b.console and "2000 True" in b.console


def test_waiting_for_nothing_is_told() -> None:
    with (
        board("import asyncio\nasyncio.run(asyncio.Event().wait())") as b,
        pytest.raises(Deadlock, match="every task"),
    ):
        b.boot()


def test_lives_leave_no_threads_behind() -> None:
    before = threading.active_count()
    for number in range(200):
        with board("import time\ntime.sleep(1)", seed=number) as b:
            b.boot(0.5)  # paused in the middle
    assert threading.active_count() <= before + 1


def test_a_month_of_sleeping_passes_quickly() -> None:
    with board(
        "import asyncio\nasync def main():\n    while True: await asyncio.sleep(10)\n"
        "asyncio.run(main())"
    ) as b:
        started = time.monotonic()
        days = 30
        b.boot(days * 86400)
        speed = days * 86400 / (time.monotonic() - started)
    print(f"\n{speed:,.0f} virtual seconds a second")  # noqa: T201
    assert b.lives == 1


# --- the network

FETCH = """
import asyncio, network, ntptime, ssl, time
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("net", "password")
while not wlan.isconnected(): time.sleep(0.1)
async def main():
    context = None
    if TLS:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=open("/ca", "rb").read())
        ntptime.settime()
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(
            "server.lan", 443, ssl=context, server_hostname="server.lan"), 30)
        writer.write(b"hello")
        await writer.drain()
        print("got", await asyncio.wait_for(reader.read(100), 30))
    except Exception as e:
        print(repr(e).replace("\\n", " "))
asyncio.run(main())
"""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"echo " + await reader.read(100))
    await writer.drain()
    writer.close()


def talk(
    tls: ServerTls | None = None, ca: bytes = b"", unix: int | None = None, **faults: object
) -> str:
    net = Net()
    host: Host = net.host("server.lan", 443, echo, tls=tls)
    for name, value in faults.items():
        setattr(host, name, value)
    main = f"TLS = {tls is not None}\n" + FETCH
    options = {} if unix is None else {"unix": unix}
    with Board(files={"main.py": main.encode(), "ca": ca}, net=net, **options) as b:  # type: ignore[arg-type]
        b.air.add("net", "password")
        b.boot(120)
        return b.console


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({}, "got b'echo hello'"),
        ({"latency": 2.0}, "got b'echo hello'"),
        ({"refuse": True}, "OSError(104"),
        ({"black_hole": True}, "TimeoutError"),
        ({"unknown": True}, "OSError(-202"),
        ({"drop_after": 3}, "got b'ech'"),
        ({"drop_after": 0}, "OSError(104"),
    ],
)
def test_what_a_board_sees_of_each_fault(faults: dict[str, object], said: str) -> None:
    assert said in talk(**faults)  # type: ignore[arg-type]


def test_tls_verdicts_are_those_of_mbed_tls() -> None:
    authority = make_authority("CA", days=3650)
    ca = authority.identity.certificate_der
    now = int(time.time())

    def server(
        name: str = "server.lan", days: int = 100, client_ca: bytes | None = None
    ) -> ServerTls:
        made = authority.server([name], days)
        return ServerTls([made.certificate_der], made.key_der, client_ca=client_ca)

    assert "got b'echo hello'" in talk(server(), ca, now)
    assert "has expired" in talk(server(), ca, now + 101 * 86400)
    assert "starts in the future" in talk(server(), ca, now - 30 * 86400)
    assert "does not match with the expected CN" in talk(server("other.lan"), ca, now)
    other = make_authority("CA").identity.certificate_der
    assert "not correctly signed by the trusted CA" in talk(server(), other, now)
    assert "OSError" in talk(server(client_ca=ca), ca, now)
    assert "got" not in talk(server(client_ca=ca), ca, now)
