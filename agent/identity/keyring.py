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

_LOOK_S = const(1)  # while there is no identity yet,
_RENEWAL_LOOK_S = const(60)  # and once there is one
_TURNS = const(4)  # of so many log-ins one is with the proven identity


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
    """`own` without a certificate is the template of what enrolment leads to.

    Attributes are for `enrol`; `again_at` is the uptime before which no other renewal is tried.
    """

    def __init__(self, board, log, clock, own, claim=None):
        self.board = board
        self.log = log
        self.clock = clock
        self.own = own
        self.claim = claim
        self.turn = 0
        self.again_at = 0
        self.answers = []  # of the hub, the newest alone
        self._proven = own if own.certificate else None
        self._next = None
        self._renew_at = None  # Unix seconds; None where nothing is to be renewed
        if self._proven is None:
            self.read_vault()

    def read_vault(self, promote=False):
        """Learns what is stored; `promote`: the identity on its way has proven itself."""
        from agent.identity import vault

        self._proven, self._next, self._renew_at = vault.identities(
            self.board, self.log, self.own, promote
        )
        vault = None
        ondemand.release("identity.vault", "storage.nvsmap", "crypto.x509", "crypto.der")

    def move(self, endpoint):
        """Logs in at "host:port" from now on; the claims' door stays where it is."""
        host, _, port = endpoint.rpartition(":")
        for identity in (self.own, self._proven, self._next):
            if identity:
                identity.endpoint = (host, int(port))

    def identity(self):
        """The one for the next log-in."""
        other = self._proven or self.claim
        if self._next and not (other and self.turn % _TURNS == _TURNS - 1):
            return self._next
        return other

    def is_claim(self, identity):
        return identity is self.claim

    def dialled(self):
        """A log-in is tried with what `identity` said."""
        self.turn += 1

    def accepted(self, identity):
        """The broker let it in."""
        if identity is self._next:
            self.read_vault(True)

    def wire(self, session):
        self.session = session
        session.on("down/enrol", self._receive)

    async def _receive(self, payload):
        self.answers[:] = [payload]

    async def run(self, task):
        """Asks for a certificate while there is none, and for another at two thirds of its
        life."""
        while True:
            await task.sleep(_RENEWAL_LOOK_S if self._proven else _LOOK_S)
            used = self.session.identity
            if used is None or self.board.uptime_s() < self.again_at:
                continue
            due = self._renew_at is not None and self.clock.now() >= self._renew_at
            if due or used is self.claim:
                await self._obtain(task, used)

    async def _obtain(self, task, used):
        from agent.identity import enrol

        try:
            await enrol.obtain(self, task, used)
        finally:
            enrol.release()
