# SPDX-License-Identifier: MIT
"""`fleetling secure`."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from fleetling import home
from fleetling.cli.options import chosen_port, home_option, port_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.flashing import efuse
from fleetling.flashing.efuse import Fuses
from fleetling.home import write_private
from fleetling.secure import nvs as nvs_images
from fleetling.secure.burn import carry_out, check_images
from fleetling.secure.keys import Vault, make_signing_key
from fleetling.secure.plan import NVS_KEY, Step, Wanted, check, steps
from fleetling.secure.signature import key_digest
from fleetling.secure.standing import standing

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def say(text: str = "") -> None:
    output.print(text, highlight=False, markup=False, soft_wrap=True)


def _chip(function: F) -> F:
    for option in (
        click.option(
            "--chip",
            type=click.Choice(efuse.CHIPS),
            help="What the chip is; a virtual one has to be told.",
        ),
        click.option(
            "--virt",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="A virtual chip in this file instead; a new one where there is none.",
        ),
        port_option,
    ):
        function = option(function)
    return function


def _wishes(function: F) -> F:
    for option in (
        click.option(
            "--download",
            type=click.Choice(["secure", "off"]),
            help="The ROM's serial mode: little of it (S3, C3), or none.",
        ),
        click.option("--no-jtag", is_flag=True, help="No debugger any more."),
        click.option(
            "--secure-version",
            type=click.IntRange(1, 32),
            metavar="N",
            help="The least security counter of firmware.",
        ),
        click.option(
            "--secure-boot",
            "keys",
            multiple=True,
            type=FILE,
            metavar="KEY.PEM",
            help="Only what this key signed starts. Three of them on S3 and C3, one on an ESP32.",
        ),
        click.option("--nvs-key", is_flag=True, help="The key of NVS encryption (S3, C3)."),
        click.option(
            "--flash-encryption",
            type=click.Choice(["key", "on"]),
            help="The key alone, for a bootloader that does the rest; or all of it, for a flash "
            "that is encrypted already.",
        ),
    ):
        function = option(function)
    return function


@contextlib.contextmanager
def _fuses(
    port: str | None, virt: Path | None, chip: str | None, *, then_run: bool = True
) -> Iterator[Fuses]:
    if virt:
        if chip is None:
            raise FleetlingError("What chip is the virtual one?", "Give --chip.")
        with efuse.virtual(virt, chip) as fuses:
            yield fuses
        return
    port = chosen_port(port)
    with efuse.on_port(port, then_run=then_run) as fuses:
        if chip and chip != fuses.chip:
            raise FleetlingError(f"On {port} is an {fuses.chip}, not an {chip}")
        yield fuses


def _wanted(
    flash_encryption: str | None,
    nvs_key: bool,
    keys: tuple[Path, ...],
    secure_version: int | None,
    no_jtag: bool,
    download: str | None,
) -> Wanted:
    wanted = Wanted(
        flash_encryption=flash_encryption or "",
        nvs_key=nvs_key,
        secure_boot=tuple(key_digest(path) for path in keys),
        secure_version=secure_version or 0,
        jtag_off=no_jtag,
        download=download or "",
    )
    if wanted == Wanted():
        raise FleetlingError(
            "Nothing is asked for", "Say what to burn, for example --flash-encryption key."
        )
    return wanted


@click.group("secure")
def command() -> None:
    """Burn keys and switches into a chip, for good.

    None of it can be undone, by nobody. Every subcommand takes --virt FILE, a virtual chip: try
    there first. docs/secure.md says what each step means for updates and repair.
    """


@command.command("status")
@_chip
@JSON
def status(port: str | None, virt: Path | None, chip: str | None, as_json: bool) -> None:
    """What is burnt already. Changes nothing."""
    with _fuses(port, virt, chip) as fuses:
        found = standing(fuses)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, value in found.items():
        say(f"{name:{width}}  {value}")


@command.command("plan")
@_wishes
@_chip
@home_option
def plan(
    port: str | None, virt: Path | None, chip: str | None, folder: Path | None, **wishes: Any
) -> None:
    """What would be burnt, in which order. Changes nothing."""
    wanted = _wanted(**wishes)
    with _fuses(port, virt, chip) as fuses:
        check(fuses, wanted)
        vault = None
        if folder is not None or wanted.flash_encryption or wanted.nvs_key:
            with contextlib.suppress(FleetlingError):
                vault = Vault(home.find(folder), fuses.mac)
        if not _show(fuses, steps(fuses.chip, wanted), vault):
            say("Nothing is left to burn.")


def _show(fuses: Fuses, made: list[Step], vault: Vault | None) -> int:
    """Prints the steps; how many are open."""
    kind = "virtual " if fuses.virtual else ""
    revision = f"{fuses.revision // 100}.{fuses.revision % 100}"
    say(f"{kind}{fuses.chip} {fuses.mac}, revision {revision}")
    width = max(len(step.title) for step in made)
    left = 0
    for number, step in enumerate(made, 1):
        done = step.done(fuses, vault)
        left += not done
        means = "burnt already" if done else step.means
        if done and step.secret and vault and vault.get(step.secret) is None:
            means = f"burnt already, with a key that is not in {vault.folder}"
        say(f"{number:3}  {step.title:{width}}  {means}")
    return left


@command.command("burn")
@_wishes
@click.option("--bootloader", type=FILE, help="The signed bootloader that the chip will start.")
@click.option("--app", type=FILE, help="The signed app that the chip will start.")
@click.option(
    "--without-images",
    is_flag=True,
    help="Burn without having seen them; wrong ones on the flash make scrap of the board.",
)
@click.option(
    "--flash-is-encrypted",
    is_flag=True,
    help="With --flash-encryption on: the flash holds bytes encrypted with the key.",
)
@click.option("--mac", help="The chip's address, instead of typing it when asked.")
@_chip
@home_option
def burn(
    bootloader: Path | None,
    app: Path | None,
    without_images: bool,
    flash_is_encrypted: bool,
    mac: str | None,
    port: str | None,
    virt: Path | None,
    chip: str | None,
    folder: Path | None,
    **wishes: Any,
) -> None:
    """Burn it. This cannot be undone.

    Interrupted, by a cable or by a power cut, run the same command again: it looks at the chip
    and goes on from there. There is no --yes.
    """
    wanted = _wanted(**wishes)
    place = home.find(folder)
    with _fuses(port, virt, chip, then_run=False) as fuses:
        check(fuses, wanted)
        if not without_images:
            check_images(fuses.chip, wanted, bootloader, app)
        made, vault = steps(fuses.chip, wanted), Vault(place, fuses.mac)
        if wanted.flash_encryption == "on" and not flash_is_encrypted:
            raise FleetlingError(
                "A flash with plain bytes does not start once flash encryption is on",
                "Burn --flash-encryption key, and let the bootloader encrypt it at its first "
                "boot; or say --flash-is-encrypted.",
            )
        if not _show(fuses, made, vault):
            say("Nothing is left to burn.")
            return
        _confirm(fuses, mac)
        carry_out(fuses, made, vault, _told)
        _next(wanted, vault, fuses)


def _confirm(fuses: Fuses, mac: str | None) -> None:
    if mac is None:
        if not sys.stdin.isatty():
            raise FleetlingError(
                "Nobody is there to confirm", f"Nothing was burnt. Give --mac {fuses.mac}."
            )
        errors.print("[bold red]eFuses are for good.[/] Nobody can take this back.")
        mac = click.prompt("Type the chip's address to burn", err=True)
    assert mac is not None
    if mac.strip().lower() != fuses.mac:
        raise FleetlingError(f"This chip is {fuses.mac}", "Nothing was burnt.")


def _told(step: Step, burnt: bool) -> None:
    if burnt:
        say(f"burnt: {step.title}")


def _next(wanted: Wanted, vault: Vault, fuses: Fuses) -> None:
    say("Done.")
    if vault.folder.is_dir():
        say(f"Back up {vault.folder}: its keys are nowhere else.")
    if wanted.flash_encryption == "key":
        say("Next: flash firmware built with flash-encryption-release, and keep its first boot")
        say("from losing power.")
    if wanted.nvs_key:
        say(f"Next: fleetling secure nvs ID --chip-mac {fuses.mac}")


@command.command("keys")
@home_option
def keys(folder: Path | None) -> None:
    """Make a key to sign bootloaders and apps with, for secure boot."""
    private, public = make_signing_key(home.find(folder))
    say(f"{public}")
    say(f"The private key is {private}. Take it to a machine without network: who has it makes")
    say("firmware for your boards; who loses it makes none any more. Two keys are wiser than one.")


@command.command("nvs")
@click.argument("device", metavar="ID")
@click.option("--chip-mac", metavar="MAC", help="Whose NVS key it is (nvs-encryption-hmac).")
@click.option(
    "--key-partition", is_flag=True, help="Make keys for a partition (nvs-encryption-flash)."
)
@home_option
def nvs(device: str, chip_mac: str | None, key_partition: bool, folder: Path | None) -> None:
    """Encrypt a provisioned board's NVS image for firmware with NVS encryption."""
    place = home.find(folder)
    board = place.boards / device
    if not (board / "nvs.bin").is_file():
        raise FleetlingError(f"{device} is not provisioned", f"fleetling provision {device}")
    if (chip_mac is None) == (not key_partition):
        raise FleetlingError(
            "There are two schemes",
            "Give --chip-mac MAC, or --key-partition, as the build has it.",
        )
    if chip_mac is not None:
        key = Vault(place, chip_mac.lower()).get(NVS_KEY)
        if key is None:
            raise FleetlingError(
                f"There is no NVS key of {chip_mac}", "fleetling secure burn --nvs-key"
            )
        made = {"nvs-encrypted.bin": nvs_images.derived_keys(key)}
    else:
        made = {"nvs-encrypted.bin": secrets.token_bytes(nvs_images.KEYS_SIZE)}
        made["nvs-key.bin"] = made["nvs-encrypted.bin"]
    image = nvs_images.encrypt((board / "nvs.bin").read_bytes(), made["nvs-encrypted.bin"])
    for name, key in made.items():
        path = board / name
        path.unlink(missing_ok=True)
        write_private(path, nvs_images.key_partition(key) if "key" in name else image)
        say(str(path))
