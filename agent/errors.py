# SPDX-License-Identifier: MIT
"""The error tree: one base with a short stable code, subclasses by whose fault it is.

`code` goes to telemetry and stands in docs/errors.md; it never changes once released.
`detail` is for a person and never holds a secret.
"""


class AgentError(Exception):
    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Refused(AgentError):
    """The input is at fault: a message, a document, a certificate, an image."""


class LinkError(AgentError):
    """The network or the other end of it is at fault."""


class StorageError(AgentError):
    """Flash, NVS or the file system is at fault, or full."""
