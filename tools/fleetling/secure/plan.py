# SPDX-License-Identifier: MIT
"""What is to be burnt into a chip, in which order, and what stands in the way.

Invariants:
- a plan is computed from what the chip holds, never from a note of what was done: after an
  interruption the same command goes on where the chip is;
- keys that must not be read come first, for secure boot then forbids to hide any more; switches
  come after what they need; the door, last;
- what is burnt but is not what the plan wants stops it before the first bit.
Source: ESP-IDF Programming Guide, "Security Features Enablement Workflows".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetling.errors import FleetlingError
from fleetling.flashing.efuse import Fuses
from fleetling.secure.keys import Vault

__all__ = ["NVS_BLOCK", "Step", "Wanted", "check", "steps"]

FLASH_KEY, NVS_KEY = "flash-encryption", "nvs-hmac"
# On S3 and C3. BLOCK_KEY5 cannot hold a key of flash encryption; the NVS key's number is
# CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID of firmware/sdkconfig/nvs-encryption-hmac.
FLASH_BLOCK, NVS_BLOCK = "BLOCK_KEY3", "BLOCK_KEY4"
DIGEST_BLOCKS = ("BLOCK_KEY0", "BLOCK_KEY1", "BLOCK_KEY2")
# These purposes store the key's bytes in reverse.
REVERSED = ("flash_encryption", "XTS_AES_128_KEY")
V3 = 300


@dataclass(frozen=True)
class Wanted:
    """What the operator asks for.

    Attributes:
        flash_encryption: "key" burns the key alone, and the first boot of a bootloader that was
            built for it does the rest; "on" burns all of it, for a flash with encrypted bytes.
        nvs_key: the key that NVS keys are derived from.
        secure_boot: digests of the keys whose signatures the chip will take.
        secure_version: the anti-rollback counter.
        jtag_off: no debugger any more.
        download: "secure" or "off", what becomes of the ROM's serial mode.
    """

    flash_encryption: str = ""
    nvs_key: bool = False
    secure_boot: tuple[bytes, ...] = ()
    secure_version: int = 0
    jtag_off: bool = False
    download: str = ""


@dataclass(frozen=True)
class Step:
    """One thing to burn: a key or digest in a block, bits, or the lock of a field.

    Attributes:
        secret: name of a key in the vault; else `digest` is what the block is to hold.
        last: nothing can be read from a real chip after it.
    """

    title: str
    means: str
    block: str = ""
    purpose: str = ""
    secret: str = ""
    digest: bytes = b""
    bits: dict[str, int] = field(default_factory=dict)
    lock: str = ""
    last: bool = False

    def done(self, fuses: Fuses, vault: Vault | None) -> bool:
        """Whether the chip has it already, all of it.

        Raises:
            FleetlingError: it has something else, and can never have it.
        """
        if self.lock:
            return not fuses.writable(self.lock)
        if self.bits:
            open_bits = [n for n, v in self.bits.items() if fuses.value(n) & v != v]
            for name in open_bits:
                if not fuses.writable(name):
                    raise _impossible(self.title, f"{name} is locked")
            return not open_bits
        return self._key_done(fuses, vault)

    def _key_done(self, fuses: Fuses, vault: Vault | None) -> bool:
        readable, writable = fuses.readable(self.block), fuses.writable(self.block)
        purpose, content = fuses.purpose(self.block), fuses.content(self.block)
        if purpose not in ("USER", self.purpose):
            raise _impossible(self.title, f"{self.block} is for {purpose}")
        if purpose == self.purpose and not writable and readable == bool(self.digest):
            if self.digest and content != self.digest:
                raise _impossible(self.title, f"{self.block} has the digest of another key")
            return True
        if not readable or not writable:
            raise _impossible(self.title, f"{self.block} is locked, and not by this step")
        if self.secret and not fuses.writable("RD_DIS"):
            raise _impossible(
                self.title, "RD_DIS is locked, so that no key can be hidden any more"
            )
        if any(content) and not self._begun(fuses, vault, content):
            where = vault.path(self.secret) if vault and self.secret else "this plan"
            raise _impossible(self.title, f"{self.block} holds something else than {where}")
        return False

    def _begun(self, fuses: Fuses, vault: Vault | None, content: bytes) -> bool:
        """Whether an interrupted run left it: what is there can still become the key."""
        key = (vault.get(self.secret) if vault else None) if self.secret else self.digest
        if key is None:
            return False
        if self.purpose in REVERSED:
            key = key[::-1]
        if fuses.chip != "esp32":  # a block is protected by a code, and burnt once
            return content == key
        return all(have & ~want == 0 for have, want in zip(content, key, strict=True))

    def burn(self, fuses: Fuses, vault: Vault | None) -> None:
        if self.lock:
            fuses.lock(self.lock)
        elif self.bits:
            fuses.burn(self.bits)
        elif self.secret:
            assert vault is not None
            fuses.burn_key(self.block, vault.make(self.secret), self.purpose)
        else:
            fuses.burn_key(self.block, self.digest, self.purpose)


def _impossible(title: str, why: str) -> FleetlingError:
    return FleetlingError(
        f"{title}: {why}", "Nothing was burnt now. eFuses do not go back: take another chip."
    )


def steps(chip: str, wanted: Wanted) -> list[Step]:
    """All that `wanted` takes on such a chip, in the order in which it must be burnt."""
    old = chip == "esp32"
    made = []
    if wanted.flash_encryption:
        made.append(
            Step(
                "key of flash encryption",
                "no one reads it back; the one copy is in the fleet's secrets",
                block="BLOCK1" if old else FLASH_BLOCK,
                purpose="flash_encryption" if old else "XTS_AES_128_KEY",
                secret=FLASH_KEY,
            )
        )
    if wanted.nvs_key:
        made.append(
            Step(
                "key of NVS encryption",
                "firmware with nvs-encryption-hmac reads no plain NVS: fleetling secure nvs",
                block=NVS_BLOCK,
                purpose="HMAC_UP",
                secret=NVS_KEY,
            )
        )
    for number, digest in enumerate(wanted.secure_boot):
        made.append(
            Step(
                f"digest of signing key {number + 1}",
                "names a key; nothing is enforced yet",
                block="BLOCK2" if old else DIGEST_BLOCKS[number],
                purpose="secure_boot_v2" if old else f"SECURE_BOOT_DIGEST{number}",
                digest=digest,
            )
        )
    if wanted.secure_version:
        made.append(
            Step(
                f"security counter {wanted.secure_version}",
                "firmware with a lower counter never starts again",
                bits={"SECURE_VERSION": (1 << wanted.secure_version) - 1},
            )
        )
    if wanted.jtag_off:
        names = ["JTAG_DISABLE"] if old else ["DIS_PAD_JTAG", "DIS_USB_JTAG"]
        made.append(Step("JTAG off", "no debugger reaches the chip", bits=dict.fromkeys(names, 1)))
    if wanted.flash_encryption == "on":
        made += _encryption_on(chip)
    if wanted.secure_boot:
        made += _secure_boot_on(chip, len(wanted.secure_boot))
    if wanted.download == "secure":
        made.append(
            Step(
                "download mode: secure",
                "flash is written over the cable and little else; eFuses are out of reach",
                bits={"ENABLE_SECURITY_DOWNLOAD": 1},
                last=True,
            )
        )
    if wanted.download == "off":
        made.append(
            Step(
                "download mode: off",
                "nothing is written over the cable ever again; two bad slots are scrap",
                bits={"UART_DOWNLOAD_DIS" if old else "DIS_DOWNLOAD_MODE": 1},
                last=True,
            )
        )
    return made


def _encryption_on(chip: str) -> list[Step]:
    if chip == "esp32":
        door = dict.fromkeys(["DISABLE_DL_ENCRYPT", "DISABLE_DL_DECRYPT", "DISABLE_DL_CACHE"], 1)
        switch, lock = {"FLASH_CRYPT_CONFIG": 0xF, "FLASH_CRYPT_CNT": 0x7F}, "DIS_CACHE"
    else:
        names = ["DIS_DOWNLOAD_MANUAL_ENCRYPT", "DIS_DOWNLOAD_ICACHE", "DIS_DIRECT_BOOT"]
        names += ["DIS_DOWNLOAD_DCACHE"] if chip == "esp32s3" else []
        door, switch, lock = dict.fromkeys(names, 1), {"SPI_BOOT_CRYPT_CNT": 7}, "DIS_ICACHE"
    return [
        Step("flash encryption: no help from the ROM", "the ROM decrypts for nobody", bits=door),
        Step("flash encryption: on", "a flash with plain bytes does not start", bits=switch),
        Step("flash encryption: locked", "these switches stay as they are", lock=lock),
    ]


def _secure_boot_on(chip: str, keys: int) -> list[Step]:
    lock = Step("secure boot: digests stay readable", "no key can be hidden later", lock="RD_DIS")
    if chip == "esp32":
        bits = {"CONSOLE_DEBUG_DISABLE": 1, "ABS_DONE_1": 1}
        return [lock, Step("secure boot: on", "stock firmware never starts again", bits=bits)]
    unused = {f"SECURE_BOOT_KEY_REVOKE{number}": 1 for number in range(keys, 3)}
    made = [lock]
    if unused:
        made.append(
            Step("secure boot: unused places revoked", "no key can be added later", bits=unused)
        )
    bits = {"DIS_DIRECT_BOOT": 1, "SECURE_BOOT_EN": 1}
    return [*made, Step("secure boot: on", "stock firmware never starts again", bits=bits)]


def check(fuses: Fuses, wanted: Wanted) -> None:
    """Refuses what this chip cannot do, or is in no state to.

    Raises:
        FleetlingError: why.
    """
    old = fuses.chip == "esp32"
    if fuses.faults:
        raise FleetlingError(
            f"The chip cannot be relied on: {', '.join(fuses.faults)}",
            "Nothing was burnt. Its eFuses have errors or a coding scheme that is not supported.",
        )
    if old and fuses.revision < V3 and (wanted.secure_boot or wanted.download == "off"):
        raise FleetlingError(
            f"This ESP32 is of revision {fuses.revision // 100}.{fuses.revision % 100}",
            "Secure boot v2, and download mode off, need 3.0 or newer. Nothing was burnt.",
        )
    if old and wanted.nvs_key:
        raise FleetlingError(
            "An ESP32 has no HMAC peripheral",
            "Build with flash-encryption-release and nvs-encryption-flash instead.",
        )
    if old and wanted.download == "secure":
        raise FleetlingError("An ESP32 has no secure download mode", "There is `--download off`.")
    most = 1 if old else 3
    if len(wanted.secure_boot) > most:
        raise FleetlingError(
            f"This chip takes {most} signing key{'s' if most > 1 else ''}",
            f"{len(wanted.secure_boot)} were given.",
        )
    if len(set(wanted.secure_boot)) != len(wanted.secure_boot):
        raise FleetlingError("A signing key was given twice", "Give each once.")
    bits = 32 if old else 16
    burnt = fuses.value("SECURE_VERSION").bit_count()
    if not 0 <= wanted.secure_version <= bits or (
        wanted.secure_version and wanted.secure_version < burnt
    ):
        raise FleetlingError(
            f"The security counter cannot become {wanted.secure_version}",
            f"It stands at {burnt}, and goes up to {bits}.",
        )
    if old and fuses.value("ABS_DONE_0"):
        raise FleetlingError(
            "Secure boot v1 is on in this chip", "Nothing was burnt. It cannot have v2 as well."
        )
    counter = fuses.value("FLASH_CRYPT_CNT" if old else "SPI_BOOT_CRYPT_CNT")
    key = "BLOCK1" if old else FLASH_BLOCK
    if wanted.flash_encryption and counter and fuses.readable(key):
        raise FleetlingError(
            "Flash encryption was switched before, with a key that is not where this plan has it",
            "Nothing was burnt. Take another chip.",
        )
