# SPDX-License-Identifier: MIT
"""Signatures of secure boot as espsecure makes them; NVS as Espressif's generator encrypts it."""

from __future__ import annotations

import contextlib
import io
import secrets
import zlib
from pathlib import Path

import espsecure
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from esp_idf_nvs_partition_gen import nvs_partition_gen as generator
from test_release_firmware import app_image

from fleetling.errors import FleetlingError
from fleetling.home import Home
from fleetling.secure import nvs
from fleetling.secure.burn import check_images
from fleetling.secure.keys import make_signing_key
from fleetling.secure.plan import Wanted
from fleetling.secure.signature import key_digest, signers


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "secrets").mkdir()
    return [make_signing_key(Home(folder)) for _ in range(2)]


def sign(image: bytes, *private: Path) -> bytes:
    """As `espsecure sign-data --version 2`."""
    source, made = private[0].with_suffix(".in"), private[0].with_suffix(".out")
    source.write_bytes(image)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(path.open("rb")) for path in private]
        data = stack.enter_context(source.open("rb"))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        espsecure.sign_secure_boot_v2(opened, str(made), False, False, None, [], [], data, False)
    return made.read_bytes()


def test_the_digest_is_espsecures(keys: list[tuple[Path, Path]]) -> None:
    for private, public in keys:
        with private.open("rb") as file:
            assert key_digest(private) == espsecure._digest_sbv2_public_key(file)
        assert key_digest(public) == key_digest(private)
        assert private.stat().st_mode & 0o777 == 0o600
    assert key_digest(keys[0][0]) != key_digest(keys[1][0])


def test_signers_of_an_image(keys: list[tuple[Path, Path]]) -> None:
    (one, _), (two, _) = keys
    image = app_image(9000)
    assert signers(image) == []
    assert signers(sign(image, one)) == [key_digest(one)]
    assert signers(sign(image, one, two)) == [key_digest(one), key_digest(two)]


@pytest.mark.parametrize("at", [0, 4000, -4096, -4096 + 40, -4096 + 900, -4096 + 1197])
def test_a_changed_byte_and_nobody_signed(keys: list[tuple[Path, Path]], at: int) -> None:
    made = bytearray(sign(app_image(9000), keys[0][0]))
    made[at] ^= 1
    assert signers(bytes(made)) == []


def test_a_forged_signature_whose_crc_fits(keys: list[tuple[Path, Path]]) -> None:
    made = bytearray(sign(app_image(9000), keys[0][0]))
    made[-4096 + 900] ^= 1
    crc = zlib.crc32(made[-4096 : -4096 + 1196])
    made[-4096 + 1196 : -4096 + 1200] = crc.to_bytes(4, "little")
    assert signers(bytes(made)) == []


@pytest.mark.parametrize(
    "text", [b"", b"-----BEGIN PUBLIC KEY-----\nno\n-----END PUBLIC KEY-----"]
)
def test_what_is_no_key(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(text)
    with pytest.raises(FleetlingError, match="not a key in PEM"):
        key_digest(tmp_path / "key.pem")


def test_images_that_the_chip_would_not_start(
    tmp_path: Path, keys: list[tuple[Path, Path]]
) -> None:
    wanted = Wanted(secure_boot=(key_digest(keys[0][0]),))
    bootloader, app = tmp_path / "bootloader.bin", tmp_path / "app.bin"
    bootloader.write_bytes(sign(app_image(700, seed=9), keys[0][0]))
    app.write_bytes(sign(app_image(9000), keys[0][0]))
    check_images("esp32", wanted, bootloader, app)

    def refusal(wanted: Wanted, chip: str = "esp32", app: Path | None = app) -> str:
        with pytest.raises(FleetlingError) as caught:
            check_images(chip, wanted, bootloader, app)
        return f"{caught.value.message} {caught.value.hint}"

    assert "none was shown" in refusal(wanted, app=None)
    assert "bootloader.bin is for esp32; this is an esp32c3" in refusal(wanted, "esp32c3")
    assert "not signed" in refusal(Wanted(secure_boot=(key_digest(keys[1][0]),)))
    counter = Wanted(secure_version=4)  # the image's is 3
    assert "counter 3; 4 is to be burnt" in refusal(counter)
    assert "none was shown" in refusal(counter, app=None)
    check_images("esp32", Wanted(secure_version=3), bootloader, app)
    bootloader.write_bytes(app_image(700))
    assert "bootloader.bin is not signed" in refusal(wanted)
    app.write_bytes(app_image(9000, chip=9))
    assert "app.bin is for esp32s3" in refusal(Wanted(jtag_off=True))


# --- NVS

ROWS = [("fl_factory", "namespace", "", ""), ("id", "data", "hex2bin", "76616c7665")] + [
    (f"k{n}", "data", "hex2bin", secrets.token_hex(700))
    for n in range(8)  # two pages
]


def image_of(rows: list[tuple[str, str, str, str]], keys: bytes | None = None) -> bytes:
    """What the generator makes of it, encrypted by itself where it is given keys."""
    buffer = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()):
        made = generator.nvs_open(
            buffer,
            0x3000,
            version=generator.Page.VERSION2,
            is_encrypt=keys is not None,
            key=keys.hex() if keys else None,
        )
        for row in rows:
            generator.write_entry(made, *row)
        generator.nvs_close(made)
    return buffer.getvalue().ljust(0x4000, b"\xff")


def test_nvs_is_encrypted_as_the_generator_does() -> None:
    keys = secrets.token_bytes(64)
    plain = image_of(ROWS)
    made = nvs.encrypt(plain, keys)
    assert made == image_of(ROWS, keys)
    assert b"valve" in plain and b"valve" not in made


def test_an_encrypted_image_is_not_encrypted_again() -> None:
    with pytest.raises(FleetlingError, match="in use already"):
        keys = secrets.token_bytes(64)
        erased = bytearray(nvs.encrypt(image_of(ROWS), keys))
        erased[32] &= 0b11110000  # as after its first boot: two entries were erased
        nvs.encrypt(bytes(erased), keys)
    with pytest.raises(FleetlingError, match="not an NVS image"):
        nvs.encrypt(b"", keys)


def test_derived_keys_and_the_key_partition_are_the_generators(tmp_path: Path) -> None:
    key = secrets.token_bytes(32)
    (tmp_path / "hmac.bin").write_bytes(key)

    class Arguments:
        keyfile, outdir = "keys.bin", str(tmp_path)
        key_protect_hmac, kp_hmac_keygen, kp_hmac_keyfile = True, False, None
        kp_hmac_inputkey = str(tmp_path / "hmac.bin")

    with contextlib.redirect_stdout(io.StringIO()):
        generator.generate_key(Arguments)
    (made,) = (tmp_path / "keys").glob("*.bin")
    assert nvs.key_partition(nvs.derived_keys(key)) == made.read_bytes()


def test_each_entry_is_a_sector_of_its_own() -> None:
    """By the standard alone: AES-256-XTS, the entry's address as the sector's number."""
    keys = secrets.token_bytes(64)
    plain = image_of(ROWS)
    made = nvs.encrypt(plain, keys)
    for at in (64, 96, 0x1000 + 64):
        sector = Cipher(algorithms.AES(keys), modes.XTS(at.to_bytes(16, "little"))).decryptor()
        assert sector.update(made[at : at + 32]) == plain[at : at + 32]
    assert made[:64] == plain[:64]
