# SPDX-License-Identifier: MIT
"""amqtt as the broker, for machines without mosquitto: identity and rules as a small plugin.

    python -m fleetling.broker.embedded FLEET_CA CLAIM_CA CERTIFICATE KEY PORT CLAIM_PORT

amqtt asks for a client certificate without requiring one and knows no rules by its name. Both are
added here. It has no revocation lists and no shared subscriptions: it is for the bench.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import sys
from dataclasses import dataclass, field
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from fleetling.broker.rules import Access, allowed

__all__ = ["CertificateIdentity", "Rules", "main"]


def _names(session: Session) -> tuple[str, str]:
    """(CN of the subject, CN of the issuer) of the client's certificate; "" when there is none."""
    if session.ssl_object is None:
        return "", ""
    certificate: Any = session.ssl_object.getpeercert() or {}

    def common_name(part: str) -> str:
        rows = certificate.get(part, ())
        found = [value for row in rows for name, value in row if name == "commonName"]
        return found[0] if len(found) == 1 else ""

    return common_name("subject"), common_name("issuer")


class CertificateIdentity(BaseAuthPlugin):  # type: ignore[misc]
    """Lets in who shows a certificate with one name; that name is the user name."""

    async def authenticate(self, *, session: Session) -> bool | None:
        user, _ = _names(session)
        session.username = user
        return bool(user)

    @dataclass
    class Config:
        pass


class Rules(BaseTopicPlugin):  # type: ignore[misc]
    """Applies the fleet's rules to what is published, subscribed to and received."""

    async def topic_filtering(
        self,
        *,
        session: Session | None = None,
        topic: str | None = None,
        action: Action | None = None,
    ) -> bool | None:
        if session is None or topic is None:
            return False
        user, issuer = _names(session)
        access = Access.WRITE if action is Action.PUBLISH else Access.READ
        return allowed(user, access, topic, claim=issuer == self.config.claim_issuer)

    @dataclass
    class Config:
        claim_issuer: str = field(default="")


class MutualBroker(Broker):  # type: ignore[misc]
    """amqtt's broker, with a client certificate required."""

    @staticmethod
    def _create_ssl_context(listener: Any) -> ssl.SSLContext:
        context: ssl.SSLContext = Broker._create_ssl_context(listener)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


async def serve(
    fleet_ca: str, claim_ca: str, certificate: str, key: str, port: str, claim_port: str
) -> None:
    """Runs until SIGTERM or SIGINT."""
    issuer = ssl.create_default_context(cafile=claim_ca).get_ca_certs()[0]["subject"]
    claim_issuer = dict(pair for row in issuer for pair in row)["commonName"]  # type: ignore[misc]

    def door(number: str, authority: str) -> dict[str, Any]:
        return {
            "type": "tcp",
            "bind": f"127.0.0.1:{number}",
            "ssl": True,
            "cafile": authority,
            "certfile": certificate,
            "keyfile": key,
        }

    config = {
        "listeners": {"default": door(port, fleet_ca), "claims": door(claim_port, claim_ca)},
        "plugins": {
            f"{__spec__.name}.CertificateIdentity": {},
            f"{__spec__.name}.Rules": {"claim_issuer": claim_issuer},
        },
    }
    broker = MutualBroker(config)
    await broker.start()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await broker.shutdown()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(*sys.argv[1:7]))


if __name__ == "__main__":
    main()
