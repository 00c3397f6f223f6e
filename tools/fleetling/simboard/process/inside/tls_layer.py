# SPDX-License-Identifier: MIT
"""`ssl` for an interpreter that has only the C module below it, as Debian's has.

The official firmware freezes micropython-lib's `ssl`; this has what of it boards use.
"""

import sys

import tls
from tls import CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER

__all__ = (
    "CERT_NONE",
    "CERT_OPTIONAL",
    "CERT_REQUIRED",
    "PROTOCOL_TLS_CLIENT",
    "PROTOCOL_TLS_SERVER",
    "SSLContext",
    "provide",
)


def provide():
    """Takes the place of `ssl` where the interpreter has none."""
    try:
        import ssl  # noqa: F401 - is it there?
    except ImportError:
        sys.modules["ssl"] = sys.modules[__name__]


class SSLContext:
    """The context as `ssl` has it: certificates by keyword."""

    def __init__(self, protocol):
        self._context = tls.SSLContext(protocol)

    @property
    def verify_mode(self):
        return self._context.verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._context.verify_mode = mode

    def load_verify_locations(self, cafile=None, cadata=None):
        self._context.load_verify_locations(_bytes(cafile) if cafile else cadata)

    def load_cert_chain(self, certfile, keyfile):
        self._context.load_cert_chain(_bytes(certfile), _bytes(keyfile))

    def wrap_socket(self, sock, **options):
        return self._context.wrap_socket(sock, **options)


def _bytes(given):
    if not isinstance(given, str):
        return given
    with open(given, "rb") as file:
        return file.read()
