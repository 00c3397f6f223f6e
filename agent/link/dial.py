# SPDX-License-Identifier: MIT
"""One line to the broker: TCP, TLS and the MQTT log-in, each with a bound and a code.

A name look-up blocks, and the handshake's curve arithmetic holds the loop for about a second
inside the first write: the task checks in before each. Loaded while there is no connection.
"""

import asyncio

from micropython import const

from agent.errors import LinkError
from agent.link import login, tls

_DIAL_S = const(20)
_ANSWER_S = const(20)
_KEEPALIVE_S = const(30)


async def open_line(mqtt, identity, task, will=None):
    """Logs in as the identity; LinkError when that fails. Either way `mqtt` is to be closed."""
    context = tls.context(identity)
    task.alive()
    reader, writer = await _dial(context, identity.endpoint)
    task.alive()
    try:
        await login.log_in(
            mqtt,
            reader,
            writer,
            identity.name,
            keepalive_s=_KEEPALIVE_S,
            will=will,
            timeout_s=_ANSWER_S,
        )
    except (ValueError, OSError, EOFError) as e:
        raise tls.failure(e)
    task.alive()


async def _dial(context, endpoint):
    host, port = endpoint
    try:
        return await asyncio.wait_for(
            asyncio.open_connection(host, port, ssl=context, server_hostname=host), _DIAL_S
        )
    except asyncio.TimeoutError:
        raise LinkError("tcp-timeout")
    except OSError as e:
        failure = tls.failure(e)
        if failure.code != "tls-memory":  # for buffers, which are made first
            failure = LinkError("tcp-failed", str(e.args[0] if e.args else ""))
        raise failure
