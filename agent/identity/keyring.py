# SPDX-License-Identifier: MIT
"""Which identity the board logs in with, and when it needs another.

A board has at most three: the one that has proven itself, a new one that has not logged in yet,
and the claim, which is good for nothing but asking. Invariants:

- a new identity replaces the proven one only after it has logged in;
- a new one that is not let in does not keep the board away: every fourth log-in is with the proven
  one, or with the claim where there is none, so that the hub can be asked again;
- the claim is never used once an identity is proven.
"""

from micropython import const

from agent import ondemand
from agent.errors import AgentError, LinkError

_LOOK_S = const(1)  # while there is no identity yet,
_RENEWAL_LOOK_S = const(60)  # and once there is one
_TURNS = const(4)  # of so many log-ins one is with the proven identity
_AGAIN_S = const(3600)  # from one renewal to the next, at least; and up to twice that


class Identity:
    """A name to log in with, at `endpoint` (host, port); certificate and key in DER, or None."""

    def __init__(self, name, ca, endpoint, certificate=None, key=None):
        self.name = name
        self.ca = ca
        self.endpoint = endpoint
        self.certificate = certificate
        self.key = key

    def having(self, certificate, key):
        return Identity(self.name, self.ca, self.endpoint, certificate, key)


class Keyring:
    """`own` without a certificate is the template of what enrolment leads to."""

    def __init__(self, board, log, clock, own, claim=None):
        self._board = board
        self._log = log
        self._clock = clock
        self.own = own
        self._claim = claim
        self._proven = own if own.certificate else None
        self._next = None
        self._turn = 0
        self._renew_at = None  # Unix seconds; None where nothing is to be renewed
        self._again_at = 0  # uptime
        self.answers = []  # of the hub, the newest alone
        if self._proven is None:
            self._read_vault()

    def _read_vault(self):
        from agent.identity import vault

        self._proven, self._next, self._renew_at = vault.identities(
            self._board, self._log, self.own
        )
        vault = None
        ondemand.release(
            "identity.vault",
            "storage.nvsmap",
            "crypto.x509",
            "crypto.der",
        )

    def move(self, endpoint):
        """Logs in at "host:port" from now on; the claims' door stays where it is."""
        host, _, port = endpoint.rpartition(":")
        for identity in (self.own, self._proven, self._next):
            if identity:
                identity.endpoint = (host, int(port))

    def identity(self):
        """The one for the next log-in."""
        other = self._proven or self._claim
        if self._next and not (other and self._turn % _TURNS == _TURNS - 1):
            return self._next
        return other

    def is_claim(self, identity):
        return identity is self._claim

    def dialled(self):
        """A log-in is tried with what `identity` said."""
        self._turn += 1

    def accepted(self, identity):
        """The broker let it in."""
        if identity is not self._next:
            return
        from agent.identity import vault

        vault.open_vault(self._board, self._log).promote()
        vault = None
        self._log.info("identity", "proven")
        self._read_vault()

    def wire(self, session):
        self._session = session
        session.on("down/enrol", self._receive)

    async def _receive(self, payload):
        self.answers[:] = [payload]

    async def run(self, task):
        """Asks for a certificate while there is none, and for another at two thirds of its
        life."""
        while True:
            await task.sleep(_RENEWAL_LOOK_S if self._proven else _LOOK_S)
            used = self._session.identity
            if used is None or self._board.uptime_s() < self._again_at:
                continue
            if used is self._claim or self._due():
                await self._obtain(task, used)

    def _due(self):
        return self._renew_at is not None and self._clock.now() >= self._renew_at

    async def _obtain(self, task, used):
        from agent.identity import enrol

        if used is not self._claim:
            wait_s = _AGAIN_S + _AGAIN_S * self._board.random(1)[0] // 255
            self._again_at = self._board.uptime_s() + wait_s
        try:
            await enrol.obtain(self._board, self._log, self._clock, self, task)
            self._read_vault()
            self._turn = 0
            self._session.end(LinkError("identity-changed"))
        except AgentError as e:
            self._log.warning("identity", "{} {}".format(e.code, e.detail))
            if used is self._claim:
                self._session.end(e)
        finally:
            enrol.release()

    async def ask(self, task, request, patience_s):
        """Publishes a request; the next answer, or None when none came in time."""
        self.answers.clear()
        await self._session.publish("up/enrol", request, 1)
        return await self.answer(task, patience_s)

    async def answer(self, task, patience_s):
        for _ in range(patience_s):
            if self.answers:
                return self.answers.pop()
            await task.sleep(1)
        return None
