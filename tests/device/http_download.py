# SPDX-License-Identifier: MIT
"""Fetches one file with the board's code over real sockets; see tests/host/test_payload_http.py.

    micropython http_download.py URL CA_DER LENGTH DROP_AT

At DROP_AT (0: never) it closes its own connection, to go on with another. Prints one line of JSON.
"""

import asyncio
import binascii
import hashlib
import json
import ssl
import sys
import time

sys.path.insert(0, __file__.rpartition("/")[0] + "/../..")

from agent.errors import LinkError
from agent.link.http import Http, dialer
from agent.update.payload.remote import Remote


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_mode = ssl.CERT_REQUIRED
    with open(sys.argv[2], "rb") as file:
        made.load_verify_locations(cadata=file.read())
    return made


async def main(url, length, drop_at):
    http = Http(time, dialer(context), idle_s=5, deadline_s=30)
    remote = Remote(http, url, length)
    hash = hashlib.sha256()
    buffer = memoryview(bytearray(4096))
    offset = 0
    try:
        while True:
            count = await remote.fetch(offset, buffer)
            if not count:
                break
            hash.update(buffer[:count])
            if offset < drop_at <= offset + count:
                await http.close()
                remote = Remote(http, url, length, remote.validator)
            offset += count
    except LinkError as e:
        return {"code": e.code, "detail": e.detail, "offset": offset}
    finally:
        await http.close()
    return {"code": None, "sha256": binascii.hexlify(hash.digest()).decode(), "offset": offset}


print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[3]), int(sys.argv[4])))))
