# SPDX-License-Identifier: MIT
"""The NVS partition of a new board, made with Espressif's own generator."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, field

from esp_idf_nvs_partition_gen import nvs_partition_gen as generator

from fleetling.endpoint import endpoint
from fleetling.errors import FleetlingError
from fleetling.pki import Identity, check_device_id

__all__ = ["Provision", "build_nvs", "factory_values"]

NAMESPACE = "fl_factory"
PAGE = 0x1000
# The largest size of each value: what the agent's own map (agent/storage/nvsmap.py) lets it read.
LIMITS = {
    "id": 32,
    "ca": 512,
    "broker": 96,
    "enrol": 96,
    "wifi": 256,
    "ntp": 64,
    "repo": 128,
    "root": 36,
    "conf": 256,
    "claim_crt": 512,
    "claim_key": 128,
    "crt": 512,
    "key": 128,
}


@dataclass(frozen=True)
class Provision:
    """What a board is given before its first boot: a claim, or a ready identity.

    Attributes:
        device_id: the board's id.
        ca: DER of the fleet CA, the only one that the board trusts.
        broker: "host:port".
        wifi: [(ssid, password)], the most wanted network first.
        enrol: "host:port" of the claims' door, for a claim.
        claim: the claim identity with which it asks for its certificate.
        identity: a ready identity instead.
        ntp: SNTP server.
        settings: the factory layer of the settings.
        repository: URL of the releases, "" for none.
        root: version (32 bits, little-endian) and SHA-256 of the repository's first root.
    """

    device_id: str
    ca: bytes
    broker: str
    wifi: list[tuple[str, str]]
    enrol: str = ""
    claim: Identity | None = None
    identity: Identity | None = None
    ntp: str = "pool.ntp.org"
    settings: dict[str, object] = field(default_factory=dict)
    repository: str = ""
    root: bytes = b""

    def values(self) -> dict[str, bytes]:
        """The values by NVS key.

        Raises:
            FleetlingError: one of them is missing, malformed or too long.
        """
        if (self.claim is None) == (self.identity is None):
            raise FleetlingError(
                f"{self.device_id} needs a claim or a ready identity, and not both",
                "Leave out --cert and --key, or give both.",
            )
        endpoint(self.broker)
        made = {
            "id": check_device_id(self.device_id).encode(),
            "ca": self.ca,
            "broker": self.broker.encode(),
            "wifi": _json([list(network) for network in self.wifi]),
            "ntp": self.ntp.encode(),
            "conf": _json(self.settings),
        }
        if self.repository:
            made |= {"repo": self.repository.encode(), "root": self.root}
        if self.claim is not None:
            endpoint(self.enrol)
            made["enrol"] = self.enrol.encode()
            made |= {"claim_crt": self.claim.certificate_der, "claim_key": self.claim.key_der}
        if self.identity is not None:
            made |= {"crt": self.identity.certificate_der, "key": self.identity.key_der}
        for key, data in made.items():
            if len(data) > LIMITS[key]:
                raise FleetlingError(
                    f"{key} of {self.device_id} is {len(data)} bytes long; {LIMITS[key]} fit",
                    "A board's NVS is small: use P-256 certificates with few extensions.",
                )
        return made


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def build_nvs(provision: Provision, size: int = 0x4000) -> bytes:
    """The partition's bytes, `size` of them."""
    buffer = io.BytesIO()
    version = generator.Page.VERSION2
    # The generator keeps a page in reserve and does not count it; what it prints is of no use
    # here.
    with contextlib.redirect_stdout(io.StringIO()):
        nvs = generator.nvs_open(buffer, size - PAGE, version=version, is_encrypt=False, key=None)
        generator.write_entry(nvs, NAMESPACE, "namespace", "", "")
        for key, data in provision.values().items():
            generator.write_entry(nvs, key, "data", "hex2bin", data.hex())
        generator.nvs_close(nvs)
    return buffer.getvalue().ljust(size, b"\xff")


def factory_values(image: bytes) -> dict[str, bytes]:
    """What an image of `build_nvs` holds, by NVS key.

    Raises:
        FleetlingError: it is no such image.
    """
    from fleetling.simboard.chip.flash import Flash, MemoryStore
    from fleetling.simboard.chip.nvs import Nvs
    from fleetling.simboard.chip.nvs_format import BLOB_V1

    size = len(image)
    values = {}
    if size and size % PAGE == 0:
        store = MemoryStore(size)
        store.write(0, image)
        nvs = Nvs(Flash(store, size), 0, size)
        found = {key: nvs.get(NAMESPACE, BLOB_V1, key) for key in LIMITS}
        values = {key: bytes(data) for key, data in found.items() if data is not None}
    if "id" not in values:
        raise FleetlingError(
            "This is no NVS image of a provisioned board", "fleetling provision makes them."
        )
    return values
