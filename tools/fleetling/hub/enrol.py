# SPDX-License-Identifier: MIT
"""Enrolment at the hub: which request is signed, once, and what the board is told.

A board is signed for once: while it has an enrolment left. A renewal needs none, but a proof made
with the key in force. A request that was answered before gets the same answer again, whatever
happened in between, so lost answers and killed hubs cost nothing.
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
from fleetling.hub.store import Certificate, Device, Store

__all__ = ["Enroller", "Signer"]

log = logging.getLogger("fleetling.hub")

# Signs a request for the id that its subject names.
Signer = Callable[[x509.CertificateSigningRequest], x509.Certificate]


class Enroller:
    def __init__(self, store: Store, sign: Signer) -> None:
        self._store = store
        self._sign = sign

    def answer(self, device_id: str, payload: bytes) -> bytes:
        """The message for the board: its certificate, or the code of the refusal."""
        try:
            request = requests.parse(device_id, payload)
            der = self._certificate(request)
        except EnrolRefused as e:
            log.warning("refused %s: %s %s", device_id, e.code, e.detail)
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
        before = self._store.answered(request.tag)
        if before is not None and before.revoked_at is None:
            log.info("answered %s again", request.device_id)
            return before.der
        if self._store.key_seen(request.key_hash):
            raise EnrolRefused("enrol-key-reused", "this key was seen before", request.tag)
        renewal = self._renews(device, request)
        if not renewal and device.enrolments_left < 1:
            raise EnrolRefused("enrol-used", "this id has its certificate", request.tag)
        return self._sign_once(request, counts=not renewal)

    def _renews(self, device: Device, request: Request) -> bool:
        current = device.current
        if current is None or current.not_after < datetime.now(UTC).replace(tzinfo=None):
            return False
        return request.proven_by(x509.load_der_x509_certificate(current.der))

    def _sign_once(self, request: Request, *, counts: bool) -> bytes:
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
        if self._store.keep(row, counts=counts):
            log.info("signed %s, serial %s", request.device_id, row.serial)
            return der
        # Another hub, or another request of this device, was faster.
        before = self._store.answered(request.tag)
        if before is None:
            raise EnrolRefused("enrol-used", "this id has its certificate", request.tag)
        return before.der
