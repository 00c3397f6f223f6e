# SPDX-License-Identifier: MIT
"""What the machine around a command did to it: a disk that is full, a folder that may not be
written, a database that another program holds. No bug, so no trace.

Loads nothing: a command that met a database has loaded what tells its errors apart.
"""

from __future__ import annotations

import errno
import sys

from fleetling.errors import FleetlingError

__all__ = ["told"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_OTHERS = (
    *(errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE, errno.ETXTBSY, errno.EBUSY),
)
_AGAIN = "then run the command again."


def told(error: Exception) -> FleetlingError | None:
    """The error as a person is told it; None where it is a bug."""
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(error, ssl.SSLError):
        return None  # its numbers are others: 1 is no EPERM
    if isinstance(error, OSError):
        return _of_a_file(error)
    alchemy = sys.modules.get("sqlalchemy.exc")
    if alchemy is None or not isinstance(error, alchemy.DatabaseError):
        return None
    # The others below DatabaseError are about what it was asked.
    if type(error) not in (alchemy.OperationalError, alchemy.DatabaseError):
        return None
    return FleetlingError(
        f"The database does not do it: {error.orig}",
        f"Is it busy, full, damaged, or not yours to write? Look at it, {_AGAIN}",
    )


def _of_a_file(error: OSError) -> FleetlingError | None:
    where = f"{error.filename}: " if error.filename is not None else ""
    text = f"{where}{error.strerror}"
    if error.errno in _FULL:
        return FleetlingError(text, f"Make room, {_AGAIN}")
    if error.errno in _FORBIDDEN:
        return FleetlingError(text, f"Look at its owner, its rights and its disk, {_AGAIN}")
    if error.errno in _OTHERS and where:
        return FleetlingError(text, f"Look what is there, {_AGAIN}")
    return None
