# SPDX-License-Identifier: MIT
"""One line to the broker: TCP, TLS and the MQTT log-in, each with a bound and a code.

A name look-up blocks, and the handshake's curve arithmetic holds the loop for about a second
inside the first write: the task checks in before each.
"""

import asyncio

from micropython import const

from agent.errors import LinkError
from agent.link import tls

_DIAL_S = const(20)
_ANSWER_S = const(20)
_KEEPALIVE_S = const(30)
_CLOSE_S = const(5)


class Line:
    def __init__(self, mqtt, identity, context):
        self._mqtt = mqtt
        self._identity = identity
        self._tls = context
        self._writer = None

    async def open(self, task, will=None):
        """Logs in as the identity; LinkError when that fails."""
        task.alive()
        reader, self._writer = await self._dial()
        task.alive()
        try:
            await self._mqtt.connect(
                reader,
                self._writer,
                self._identity.id,
                keepalive_s=_KEEPALIVE_S,
                will=will,
                timeout_s=_ANSWER_S,
            )
        except (ValueError, OSError, EOFError) as e:
            raise tls.failure(e)
        task.alive()

    async def _dial(self):
        where = self._identity
        try:
            return await asyncio.wait_for(
                asyncio.open_connection(
                    where.host, where.port, ssl=self._tls, server_hostname=where.host
                ),
                _DIAL_S,
            )
        except asyncio.TimeoutError:
            raise LinkError("tcp-timeout")
        except OSError as e:
            raise LinkError("tcp-failed", str(e.args[0] if e.args else ""))

    async def close(self):
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), _CLOSE_S)
        except (OSError, asyncio.TimeoutError):
            pass  # the socket is gone either way
