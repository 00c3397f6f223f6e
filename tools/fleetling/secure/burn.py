# SPDX-License-Identifier: MIT
"""Carries out a plan: on a copy first, then on the chip, each step looked at before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from esp_idf_defs import ChipId

from fleetling.errors import FleetlingError
from fleetling.flashing.efuse import Fuses
from fleetling.release.firmware import read_firmware
from fleetling.secure.keys import Vault
from fleetling.secure.plan import Step, Wanted
from fleetling.secure.signature import signers

__all__ = ["carry_out", "check_images"]


def check_images(chip: str, wanted: Wanted, bootloader: Path | None, app: Path | None) -> None:
    """Refuses to burn what the images that the chip is to run would not get past.

    Raises:
        FleetlingError: an image is missing, unsigned, for another chip or with too low a counter.
    """
    if wanted.secure_boot:
        for name, path in (("bootloader", bootloader), ("app", app)):
            if path is None:
                raise FleetlingError(
                    f"Secure boot needs a signed {name}, and none was shown",
                    "A stock image would never start again. Give --bootloader and --app, or say "
                    "--without-images if you know that signed ones are on the flash.",
                )
            if not set(signers(path.read_bytes())) & set(wanted.secure_boot):
                raise FleetlingError(
                    f"{path} is not signed with a key that the chip would take",
                    "It would never start: espsecure sign-data --version 2.",
                )
    if bootloader:
        data = bootloader.read_bytes()
        number = int.from_bytes(data[12:14], "little")
        if data[:1] != b"\xe9" or number not in [c.value for c in ChipId]:
            raise FleetlingError(f"{bootloader} is not a bootloader", "Give bootloader.bin.")
        if ChipId(number).chip_name != chip:
            raise FleetlingError(
                f"{bootloader} is for {ChipId(number).chip_name}; this is an {chip}"
            )
    if app:
        firmware = read_firmware(app.read_bytes())
        if firmware.chip != chip:
            raise FleetlingError(f"{app} is for {firmware.chip}; this is an {chip}")
        if firmware.secure_version < wanted.secure_version:
            raise FleetlingError(
                f"{app} has the security counter {firmware.secure_version}; "
                f"{wanted.secure_version} is to be burnt",
                "It would never start. Build it with a higher "
                "CONFIG_BOOTLOADER_APP_SECURE_VERSION.",
            )
    elif wanted.secure_version:
        raise FleetlingError(
            "A security counter needs firmware that has it, and none was shown",
            "Give --app, or say --without-images.",
        )


def carry_out(
    fuses: Fuses,
    plan: Sequence[Step],
    vault: Vault | None,
    told: Callable[[Step, bool], None] = lambda step, burnt: None,
) -> None:
    """Burns what is open. `told(step, burnt)` hears of each; not burnt means it stood already.

    Raises:
        FleetlingError: the chip is not as it should be before or after a step. The steps before
            it are burnt, and the same call goes on from there.
    """
    # Whatever cannot be done stops us before the first bit.
    left = [step for step in plan if not step.done(fuses, vault)]
    for step in left:
        if step.secret and vault:
            vault.make(step.secret)
    _burn(fuses.copy(), plan, vault, lambda step, burnt: None)
    _burn(fuses, plan, vault, told)


def _burn(
    fuses: Fuses, plan: Sequence[Step], vault: Vault | None, told: Callable[[Step, bool], None]
) -> None:
    for step in plan:
        if step.done(fuses, vault):
            told(step, False)
            continue
        step.burn(fuses, vault)
        blind = step.last and not fuses.virtual  # the door is shut: nobody can look any more
        if not blind and not step.done(fuses, vault):
            raise FleetlingError(
                f"{step.title}: the chip did not take all of it",
                "Run the same command again; it goes on from here.",
            )
        told(step, True)
