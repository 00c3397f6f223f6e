# SPDX-License-Identifier: MIT
"""What keeps a line from being opened, by its code."""

import asyncio

from support import raises_async

from agent.errors import LinkError
from agent.link import dial


class Failing:
    """asyncio, whose connections fail."""

    wait_for = staticmethod(asyncio.wait_for)
    TimeoutError = asyncio.TimeoutError

    def __init__(self, error):
        self._error = error

    async def open_connection(self, *args, **options):
        raise self._error


async def code(error):
    real = dial.asyncio
    dial.asyncio = Failing(error)
    try:
        raised = await raises_async(LinkError, dial._dial(None, ("broker.lan", 8883)))
        return raised.code
    finally:
        dial.asyncio = real


async def test_no_memory_for_the_buffers_of_tls_is_told_as_that():
    # MicroPython makes them before it connects.
    assert await code(OSError(12)) == "tls-memory"
    assert await code(OSError(-0x7F00, "MBEDTLS_ERR_SSL_ALLOC_FAILED")) == "tls-memory"


async def test_all_else_is_a_failure_of_tcp():
    for error in (OSError(104), OSError(-2), OSError(113), OSError()):
        assert await code(error) == "tcp-failed", error
