# SPDX-License-Identifier: MIT
"""What a connection with TLS takes of the heap.

On an ESP32 mbed TLS shares one memory with MicroPython's heap; on the unix port it has its own. So
each connection takes here what it takes there, and fails as it does where that is not to be had.
It takes it in small pieces: there the heap grows into other regions than those where its larger
buffers lie, so that they find their place, and here they would not.
"""

import asyncio

_ENOMEM = 12
_PIECE = 512


def take(size):
    """From now on each connection takes `size` bytes, until it is closed."""
    plain = asyncio.open_connection
    stream = asyncio.StreamReader  # reads and writes
    closed = stream.wait_closed

    async def open_connection(host, port, ssl=None, server_hostname=None):
        try:
            held = [bytearray(_PIECE) for _ in range(size // _PIECE)] if ssl else None
        except MemoryError:
            raise OSError(_ENOMEM) from None
        made = await plain(host, port, ssl=ssl, server_hostname=server_hostname)
        made[0].tls_heap = held
        return made

    async def wait_closed(self):
        self.tls_heap = None
        await closed(self)

    asyncio.open_connection = open_connection
    stream.wait_closed = wait_closed
