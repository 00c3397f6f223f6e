# SPDX-License-Identifier: MIT
"""python-tuf and its keys, as this package uses them; they come with `fleetling[release]`."""

from __future__ import annotations

from fleetling.errors import FleetlingError

try:
    from securesystemslib.signer import (  # type: ignore[attr-defined]
        CryptoSigner,
        Key,
        SSlibKey,
    )
    from tuf.api.exceptions import (
        DownloadError,
        DownloadHTTPError,
        LengthOrHashMismatchError,
        RepositoryError,
    )
    from tuf.api.metadata import (  # type: ignore[attr-defined]
        DelegatedRole,
        Delegations,
        Metadata,
        MetaFile,
        Root,
        Snapshot,
        TargetFile,
        Targets,
        Timestamp,
    )
    from tuf.api.serialization import SerializationError
    from tuf.api.serialization.json import JSONSerializer
    from tuf.ngclient import (  # type: ignore[attr-defined]
        FetcherInterface,
        Updater,
        UpdaterConfig,
    )
except ImportError as e:
    raise FleetlingError(
        "Releases need the package tuf", "pip install 'fleetling[release]'"
    ) from e

__all__ = [
    "CryptoSigner",
    "DelegatedRole",
    "Delegations",
    "DownloadError",
    "DownloadHTTPError",
    "FetcherInterface",
    "JSONSerializer",
    "Key",
    "LengthOrHashMismatchError",
    "MetaFile",
    "Metadata",
    "RepositoryError",
    "Root",
    "SSlibKey",
    "SerializationError",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
    "Updater",
    "UpdaterConfig",
]
