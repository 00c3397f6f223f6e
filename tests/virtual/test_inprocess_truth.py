# SPDX-License-Identifier: MIT
"""The same snippets on the CPython board and on the real interpreter's board: the same output."""

from __future__ import annotations

from pathlib import Path

import pytest
from both_boards import said_by_both

FILES = """
import os
def tried(call, *args):
    try: print("ok", call(*args))
    except OSError as e: print("errno", e.errno)
    except ValueError as e: print("ValueError")
os.mkdir("/d")
tried(os.mkdir, "/d")
tried(open, "/none")
tried(open, "/d/none/x", "w")
tried(os.remove, "/none")
tried(os.rmdir, "/none")
with open("/d/f", "w") as f: print(f.write("hello\\nworld\\n"))
tried(os.rmdir, "/d")
with open("/d/f", "a") as f: f.write("more")
with open("/d/new", "a") as f: f.write("appended")
with open("/d/f") as f: print(f.readline(), f.read(3), f.tell(), f.seek(0), list(f))
with open("/d/f", "r+b") as f: f.seek(2); f.write(b"LL"); f.seek(0, 2); print(f.tell())
print(open("/d/f", "rb").read())
tried(open, "/d/f", "x")
os.rename("/d/f", "/d/g")
print(sorted(os.listdir("/d")), os.stat("/d/g")[6], os.stat("/d")[0])
f = open("/d/g"); f.close(); tried(f.read)
buffer = bytearray(4)
with open("/d/g", "rb") as f: print(f.readinto(buffer), buffer)
"""

TASKS = """
import asyncio
async def sleeper(name, seconds):
    try:
        await asyncio.sleep(seconds)
        print("woke", name)
        return name
    except asyncio.CancelledError:
        print("cancelled", name)
        raise
async def fails():
    await asyncio.sleep(0)
    raise ValueError("broken")
async def main():
    print(await asyncio.gather(sleeper("b", 0.2), sleeper("a", 0.1)))
    try: await asyncio.wait_for(sleeper("slow", 5), 0.1)
    except asyncio.TimeoutError: print("timeout")
    task = asyncio.create_task(sleeper("c", 5))
    await asyncio.sleep(0.05)
    task.cancel()
    try: await task
    except asyncio.CancelledError: print("gone", task.done())
    try: await fails()
    except ValueError as e: print(e)
    results = await asyncio.gather(fails(), sleeper("d", 0.05), return_exceptions=True)
    print(type(results[0]).__name__, results[0].args, results[1])
    event = asyncio.Event()
    async def waits():
        await event.wait()
        print("event", event.is_set())
    waiting = asyncio.create_task(waits())
    await asyncio.sleep(0)
    event.set()
    await waiting
    lock = asyncio.Lock()
    async def holds(name):
        async with lock:
            print("in", name)
            await asyncio.sleep(0.01)
            print("out", name)
    await asyncio.gather(holds(1), holds(2))
    print(lock.locked())
asyncio.run(main())
"""

NUMBERS = """
print(pow(3, -1, 7), int.from_bytes(b"\\x01\\x02", "big"), (258).to_bytes(2, "big"))
import json, struct, binascii, hashlib
for text in ("[", "{", "nope"):
    try: print(json.loads(text))
    except ValueError: print("ValueError")
print(json.loads('{"a": [1, -2.5, null, true, "\\u0041"]}'))
print(struct.pack("<HBxI", 1, 2, 3), binascii.crc32(b"123456789"), binascii.b2a_base64(b"abc"))
print(binascii.hexlify(hashlib.sha256(b"abc").digest()))
try: [].pop()
except IndexError as e: print("IndexError")
try: {}["x"]
except KeyError as e: print(e.args)
print("{:5d}|{:<4}|{:08.3f}|{!r}".format(42, "x", 3.14159, "q"))
"""

SOCKETS_AND_DEFLATE = """
import io, deflate
packed = b"K\\xcc\\xaa\\x18\\x05\\x23\\x06\\x00"
try: print(len(deflate.DeflateIO(io.BytesIO(packed), deflate.RAW, 9).read()))
except (OSError, EOFError, ValueError) as e: print(type(e).__name__)
print(deflate.DeflateIO(io.BytesIO(b"\\x01\\x03\\x00\\xfc\\xffabc"), deflate.RAW, 9).read())
"""


@pytest.mark.parametrize(
    "snippet",
    [
        pytest.param(FILES, id="files"),
        pytest.param(TASKS, id="tasks"),
        pytest.param(NUMBERS, id="numbers"),
        pytest.param(SOCKETS_AND_DEFLATE, id="deflate"),
    ],
)
def test_both_boards_say_the_same(snippet: str, tmp_path: Path) -> None:
    here, there = said_by_both(snippet, tmp_path)
    assert here == there
