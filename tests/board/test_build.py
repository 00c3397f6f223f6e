# SPDX-License-Identifier: MIT
"""What docs/hardware.md says of the build, asked of the board."""

from __future__ import annotations

import zlib

import pytest
from asked import Asked

FROZEN = ("asyncio", "ntptime", "ssl", "deflate", "hashlib", "json", "struct", "binascii", "vfs")


def test_it_is_an_esp32_with_a_micropython_that_the_agent_takes(asked: Asked) -> None:
    found = asked.ask(
        """
        import os, sys
        result = [os.uname()[0], os.uname()[2], list(sys.implementation.version)[:2],
                  sys.implementation._mpy & 0xFF, sys.platform]
        """
    )
    assert found[0] == found[4] == "esp32"
    assert found[2] >= [1, 24] and found[1].startswith(f"{found[2][0]}.{found[2][1]}")
    assert found[3] == 6  # the version of .mpy that the agent is compiled to


@pytest.mark.parametrize("name", FROZEN)
def test_it_has_the_module(asked: Asked, name: str) -> None:
    asked.run(f"import {name}")


@pytest.mark.parametrize("name", ["hmac", "pathlib"])
def test_it_does_not_have_the_module(asked: Asked, name: str) -> None:
    assert asked.fails(f"import {name}")[0] == "ImportError"


def test_its_hashes_are_three(asked: Asked, real: bool) -> None:
    found = asked.ask(
        """
        import hashlib, binascii
        result = [hasattr(hashlib, name) for name in ("md5", "sha1", "sha256", "sha512")]
        result.append(binascii.hexlify(hashlib.sha256(b"abc").digest()).decode()[:16])
        """
    )
    assert found[2] and not found[3] and found[4] == "ba7816bf8f01cfea"
    assert not real or found[:2] == [True, True]


def test_its_epoch_is_2000(asked: Asked) -> None:
    assert asked.ask("import time\nresult = list(time.gmtime(0))[:6]") == [2000, 1, 1, 0, 0, 0]


def test_machine_code_is_compiled_on_the_board(asked: Asked) -> None:
    code = """
        import micropython
        @micropython.viper
        def add(data: ptr8, count: int) -> int:
            total = 0
            for i in range(count):
                total += data[i]
            return total
        result = add(bytes((1, 2, 250)), 3)
        """
    assert asked.ask(code) == 253


def test_there_is_memory_for_the_agent(asked: Asked) -> None:
    found = asked.ask("import gc, esp32\ngc.collect()\nresult = gc.mem_free()")
    assert found > 60_000


def test_what_is_deflated_is_inflated_with_a_small_window(asked: Asked) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -9)
    packed = packer.compress(b"hello " * 300) + packer.flush()
    found = asked.ask(
        f"""
        import deflate, io
        data = deflate.DeflateIO(io.BytesIO({packed!r}), deflate.RAW, 9).read()
        result = [len(data), data[-12:].decode()]
        """
    )
    assert found == [1800, "hello hello "]
