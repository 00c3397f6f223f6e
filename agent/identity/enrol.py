# SPDX-License-Identifier: MIT
"""Asks the hub for a certificate: makes a key, requests, checks the answer, stores.

Each state is stored before the step that leaves it, and the request for one key is always the same
bytes (RFC 6979), so whatever is cut, lost or repeated, the board asks for the same thing again and
the hub gives the same answer. Loaded when there is something to ask for, then released.
"""

import binascii
import hashlib
import json

from micropython import const

from agent import ondemand
from agent.crypto import csr, sign, x509
from agent.crypto.steps import finish_async
from agent.errors import AgentError, LinkError, Refused
from agent.identity.vault import ENROLLED, KEYED, REQUESTED, open_vault
from agent.link import document

_PATIENCE_S = (20, 40, 80, 160)  # a hub that is down, or has much to do, is asked again
_AGAIN_S = const(3600)  # from one renewal to the next, at least; and up to twice that
_LONGEST_CODE = const(32)
_MODULES = (
    "identity.enrol",
    "identity.vault",
    "storage.nvsmap",
    "crypto.csr",
    "crypto.sign",
    "crypto.x509",
    "crypto.p256",
    "crypto.generator",
    "crypto.hmac",
    "crypto.der",
    "crypto.steps",
)


def release():
    ondemand.release(*_MODULES)


async def obtain(keyring, task, used):
    """Gets another identity than `used`, and has the session log in with it."""
    log = keyring.log
    if used is not keyring.claim:
        wait_s = _AGAIN_S + _AGAIN_S * keyring.board.random(1)[0] // 255
        keyring.again_at = keyring.board.uptime_s() + wait_s
    try:
        await _obtain(keyring, task)
        keyring.read_vault()
        keyring.turn = 0
        keyring.session.end(LinkError("identity-changed"))
    except AgentError as e:
        log.warning("identity", "{} {}".format(e.code, e.detail))
        if used is keyring.claim:
            keyring.session.end(e)


async def _obtain(keyring, task):
    """Leaves a new identity in the vault, its certificate checked; AgentError if it could
    not."""
    board, log, own = keyring.board, keyring.log, keyring.own
    vault = open_vault(board, log)

    async def pause():
        await task.sleep(0)

    state, key, _ = vault.next() or (0, None, None)
    if not state:
        key = sign.make_key(board.random, board.wlan.isconnected())
        vault.set_next(KEYED, key)
        log.info("identity", "key made")
    point = await finish_async(sign.public_key_steps(key), pause)
    request = await finish_async(csr.request_steps(key, own.name, point), pause)
    if state != ENROLLED:  # one that is not let in is asked for again, and kept meanwhile
        vault.set_next(REQUESTED, key)
    answer = await _ask(keyring, task, request)
    if "error" in answer:
        raise _refusal(answer, vault)
    try:
        certificate = binascii.a2b_base64(answer["certificate"])
    except (KeyError, ValueError, TypeError):
        raise Refused("enrol-answer")
    now = keyring.clock.now()
    await finish_async(x509.check_steps(certificate, own.ca, point, own.name, now), pause)
    vault.set_next(ENROLLED, key, certificate)
    log.info("identity", "certificate stored")


async def _ask(keyring, task, request):
    """The hub's answer to this very request."""
    tag = binascii.hexlify(hashlib.sha256(request).digest()).decode()
    message = json.dumps({"csr": binascii.b2a_base64(request).decode().strip()})
    for patience_s in _PATIENCE_S:
        keyring.answers.clear()
        await keyring.session.publish("up/enrol", message, 1)
        payload = await _answer(keyring, task, patience_s)
        while payload is not None:
            answer = document.parse(payload, "enrol-answer")
            if answer.get("request") == tag:
                return answer
            payload = await _answer(keyring, task, patience_s)  # an old one, to another request
    raise LinkError("enrol-no-answer")


async def _answer(keyring, task, patience_s):
    """The next answer, or None when none came in time."""
    for _ in range(patience_s):
        if keyring.answers:
            return keyring.answers.pop()
        await task.sleep(1)
    return None


def _refusal(answer, vault):
    code = answer["error"]
    if not isinstance(code, str) or not code.startswith("enrol-") or len(code) > _LONGEST_CODE:
        return Refused("enrol-answer")
    if code == "enrol-key-reused":
        vault.forget_next()  # the next try makes another key
    return Refused(code)
