# SPDX-License-Identifier: MIT
"""Enrolment at the hub: which request is signed, once, and what the board is told.

A board is signed for once: while it has an enrolment left. A renewal needs none, but a certificate
in force, with which the board has logged in to ask. A request that was answered before gets the
same answer again, whatever happened in between, so lost answers and killed hubs cost nothing.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fleetling.errors import FleetlingError
from fleetling.hub import request as requests
from fleetling.hub.request import EnrolRefused, Request
from fleetling.registry import Certificate, Device, Store

__all__ = ["Enroller", "Signer"]

log = logging.getLogger("fleetling.hub")

# Signs a request for the id that its subject names.
Signer = Callable[[x509.CertificateSigningRequest], x509.Certificate]


class Enroller:
    def __init__(self, store: Store, sign: Signer) -> None:
        self._store = store
        self._sign = sign

    def answer(self, name: str, payload: bytes) -> bytes:
        """The message for the sender: its certificate, or the code of the refusal.

        Args:
            name: the sender's, as the topic has it.
            payload: its request.
        """
        try:
            request = requests.parse(name, payload)
            der = self._certificate(request)
        except EnrolRefused as e:
            log.warning("refused %s: %s %s", name, e.code, e.detail)
            refusal = {"request": e.tag, "error": e.code, "detail": e.detail}
            return json.dumps(refusal).encode()
        return json.dumps(
            {"request": request.tag, "certificate": base64.b64encode(der).decode()}
        ).encode()

    def _certificate(self, request: Request) -> bytes:
        try:
            device = self._store.device(request.device_id)
        except FleetlingError as e:
            raise EnrolRefused("enrol-unknown", "not on the list", request.tag) from e
        if device.revoked_at is not None:
            raise EnrolRefused("enrol-revoked", "the device was revoked", request.tag)
        # In this order: a request whose key was seen may have been answered by now.
        key_seen = self._store.key_seen(request.key_hash)
        before = self._store.answered(request.tag)
        if before is not None and before.revoked_at is None:
            log.info("answered %s again", request.device_id)
            return before.der
        if key_seen:
            raise EnrolRefused("enrol-key-reused", "this key was seen before", request.tag)
        if request.renewal and not _in_force(device):
            raise EnrolRefused("enrol-lapsed", "this id has no certificate in force", request.tag)
        if not request.renewal and device.enrolments_left < 1:
            raise EnrolRefused("enrol-used", "this id has its certificate", request.tag)
        return self._sign_once(request)

    def _sign_once(self, request: Request) -> bytes:
        signed = self._sign(request.csr)
        der = signed.public_bytes(serialization.Encoding.DER)
        row = Certificate(
            serial=f"{signed.serial_number:x}",
            device_id=request.device_id,
            request=request.tag,
            key_hash=request.key_hash,
            der=der,
            not_after=signed.not_valid_after_utc.replace(tzinfo=None),
        )
        if self._store.keep(row, counts=not request.renewal):
            log.info("signed %s, serial %s", request.device_id, row.serial)
            return der
        # Another hub, or another request of this device, was faster.
        before = self._store.answered(request.tag)
        if before is not None:
            return before.der
        if self._store.device(request.device_id).revoked_at is not None:
            raise EnrolRefused("enrol-revoked", "the device was revoked", request.tag)
        raise EnrolRefused("enrol-used", "this id has its certificate", request.tag)


def _in_force(device: Device) -> bool:
    current = device.current
    return current is not None and current.not_after > datetime.now(UTC).replace(tzinfo=None)
