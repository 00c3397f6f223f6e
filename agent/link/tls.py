# SPDX-License-Identifier: MIT
"""TLS as the board uses it: always verified, with its failures as stable codes.

mbed TLS reports a certificate that it refuses as ValueError with its own text, during the first
write or read; all else is an OSError with an errno or an mbed TLS number.
"""

import ssl

from micropython import const

from agent.errors import LinkError, Refused

_FATAL_ALERT = const(-0x7780)  # MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE

# No route, no answer, nobody there: TCP's own failures, which asyncio tells with the first write.
# Linux and the ESP32's newlib number two of them differently.
_UNREACHABLE = (110, 111, 113, 116, 118)

# No memory: MicroPython's ENOMEM for mbed TLS's own buffers, and its numbers for what curves, keys
# and certificates need during the handshake.
_MEMORY = (12, -0x7F00, -0x4D80, -0x3F80, -0x2880)

_VERDICTS = (
    ("expired", "tls-expired"),
    ("future", "tls-future"),
    ("(CN) does not match", "tls-name"),
    ("not correctly signed", "tls-ca"),
    ("revoked", "tls-revoked"),
)


def trusting(ca):
    """A client context that trusts this CA (DER) alone."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_verify_locations(cadata=ca)
    except (ValueError, OSError):
        raise Refused("identity-ca")
    return made


def context(identity):
    """The same, and it shows the board's certificate."""
    made = trusting(identity.ca)
    try:
        made.load_cert_chain(identity.certificate, identity.key)
    except (ValueError, OSError):
        raise Refused("identity-certificate")
    return made


def failure(e):
    """The LinkError for what was raised before the first answer came through TLS."""
    if isinstance(e, LinkError):
        return e
    if isinstance(e, ValueError):
        text = str(e)
        for words, code in _VERDICTS:
            if words in text:
                return LinkError(code)
        return LinkError("tls-failed", text.strip())
    number = e.args[0] if e.args else ""
    if number in _UNREACHABLE:
        return LinkError("tcp-failed", str(number))
    if number in _MEMORY:
        return LinkError("tls-memory", str(number))
    if number == _FATAL_ALERT:
        return LinkError("tls-refused")
    if isinstance(number, int) and number < -0x1000:
        return LinkError("tls-failed", str(number))
    # The other end hung up in the middle: it speaks no TLS, or it does not accept our certificate.
    return LinkError("tls-closed", str(number))
