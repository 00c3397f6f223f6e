# SPDX-License-Identifier: MIT
"""What `fleetling secure` burns, on espefuse's own emulation of the three chips."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from fleetling.errors import FleetlingError
from fleetling.flashing import efuse
from fleetling.flashing.efuse import CHIPS, Fuses
from fleetling.home import Home
from fleetling.secure.burn import carry_out
from fleetling.secure.keys import Vault
from fleetling.secure.plan import FLASH_KEY, NVS_KEY, Wanted, check, steps
from fleetling.secure.standing import standing

DIGESTS = tuple(hashlib.sha256(bytes([n])).digest() for n in range(3))
ALL = {
    "esp32": Wanted(
        flash_encryption="on",
        secure_boot=DIGESTS[:1],
        secure_version=3,
        jtag_off=True,
        download="off",
    ),
    "esp32s3": Wanted("on", True, DIGESTS[:2], 3, True, "secure"),
    "esp32c3": Wanted("on", True, DIGESTS, 16, True, "off"),
}


@pytest.fixture(autouse=True, scope="module")
def read_once() -> Iterator[None]:
    """espefuse reads its definitions, 0.5 s each time, whenever a chip is opened."""
    load = yaml.safe_load
    known: dict[str, bytes] = {}

    def quick(stream: Any) -> Any:
        text = stream.read()
        if text not in known:
            known[text] = pickle.dumps(load(text))
        return pickle.loads(known[text])

    yaml.safe_load = quick
    yield
    yaml.safe_load = load


class Bench:
    """A fleet's folder and one virtual chip."""

    def __init__(self, folder: Path, chip: str) -> None:
        self.place = Home(folder)
        (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
        self.file, self.chip = folder / "chip.bin", chip

    def open(self) -> Any:
        return efuse.virtual(self.file, self.chip)

    def burn(self, wanted: Wanted) -> list[str]:
        """The titles of what was burnt."""
        burnt = []
        with self.open() as fuses:
            check(fuses, wanted)
            vault = Vault(self.place, fuses.mac)
            for step in steps(self.chip, wanted):
                assert step.done(fuses, vault) in (False, True)
            carry_out(
                fuses,
                steps(self.chip, wanted),
                vault,
                lambda step, done: burnt.append(step.title) if done else None,
            )
        return burnt

    def do(self, work: Callable[[Fuses], Any]) -> Any:
        with self.open() as fuses:
            return work(fuses)

    def vault(self) -> Vault:
        return Vault(self.place, self.do(lambda fuses: fuses.mac))


@pytest.fixture(params=CHIPS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, request.param)


@pytest.fixture
def s3(tmp_path: Path) -> Bench:
    return Bench(tmp_path, "esp32s3")


@pytest.fixture
def old(tmp_path: Path) -> Bench:
    return Bench(tmp_path, "esp32")


def test_all_of_it_in_its_order(bench: Bench) -> None:
    wanted = ALL[bench.chip]
    titles = bench.burn(wanted)
    assert titles == [step.title for step in steps(bench.chip, wanted)]
    # Hidden keys before the lock that keeps digests readable; the switch of secure boot after it.
    lock = titles.index("secure boot: digests stay readable")
    assert titles.index("key of flash encryption") < lock < titles.index("secure boot: on")
    assert titles[-1].startswith("download mode")
    found = bench.do(standing)
    assert found["secure boot"] == "v2, on" and found["JTAG"] == "off"
    assert found["flash encryption"].startswith("on")
    assert found["security counter"].startswith(str(wanted.secure_version))
    assert found["download mode"] == wanted.download
    assert found["more keys can be hidden"] == "no"
    if bench.chip != "esp32":
        revoked = {2: "3", 3: "none"}
        assert found["revoked keys"] == revoked[len(wanted.secure_boot)]
        assert found["BLOCK_KEY4"] == "HMAC_UP, hidden"


def test_a_second_run_burns_nothing(bench: Bench) -> None:
    bench.burn(ALL[bench.chip])
    before = bench.file.read_bytes()
    assert bench.burn(ALL[bench.chip]) == []
    assert bench.file.read_bytes() == before


def test_one_after_the_other_is_the_same_as_all_at_once(s3: Bench) -> None:
    wanted = ALL["esp32s3"]
    for part in (
        Wanted(flash_encryption="key"),
        Wanted(nvs_key=True),
        Wanted(flash_encryption="on", jtag_off=True, secure_version=1),
        wanted,
    ):
        assert s3.burn(part)
    found = s3.do(standing)
    assert found["secure boot"] == "v2, on" and found["security counter"] == "3 of 16"


def test_keys_are_private_files_and_hidden_in_the_chip(bench: Bench) -> None:
    bench.burn(ALL[bench.chip])
    vault = bench.vault()
    names = [FLASH_KEY] if bench.chip == "esp32" else [FLASH_KEY, NVS_KEY]
    assert sorted(p.name for p in vault.folder.iterdir()) == [f"{n}.key" for n in names]
    for name in names:
        assert vault.path(name).stat().st_mode & 0o777 == 0o600
        assert vault.path(name).read_bytes() not in bench.file.read_bytes()
    assert vault.folder.stat().st_mode & 0o777 == 0o700
    with bench.open() as fuses:
        for step in steps(bench.chip, ALL[bench.chip]):
            if step.block:
                assert fuses.readable(step.block) == bool(step.digest)


def test_the_key_in_the_chip_is_the_one_in_the_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken from what espefuse is given, since the chip shows it to nobody."""
    given = []
    burn = Fuses.burn_key

    def seen(fuses: Fuses, block: str, key: bytes, purpose: str) -> None:
        given.append(key)
        burn(fuses, block, key, purpose)

    monkeypatch.setattr(Fuses, "burn_key", seen)
    bench.burn(Wanted(flash_encryption="key"))
    key = bench.vault().get(FLASH_KEY)
    assert given == [key, key]  # on the copy, then on the chip
    assert key and len(set(key)) > 8


# --- refused before the first bit


def refused(bench: Bench, wanted: Wanted) -> str:
    bench.do(lambda fuses: None)
    before = bench.file.read_bytes()
    with pytest.raises(FleetlingError) as caught:
        bench.burn(wanted)
    assert bench.file.read_bytes() == before
    return f"{caught.value.message} {caught.value.hint}"


def test_an_esp32_before_revision_3_has_no_secure_boot_v2(old: Bench) -> None:
    old.do(lambda fuses: None)
    raw = old.do(lambda fuses: fuses._commands.esp)
    raw.mem.set(0)
    raw.save_to_file()
    assert "revision 0.0" in refused(old, Wanted(secure_boot=DIGESTS[:1]))
    assert "revision 0.0" in refused(old, Wanted(download="off"))
    assert old.burn(Wanted(jtag_off=True))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(nvs_key=True), "no HMAC"),
        (Wanted(download="secure"), "no secure download mode"),
        (Wanted(secure_boot=DIGESTS[:2]), "takes 1 signing key"),
        (Wanted(secure_version=33), "cannot become 33"),
    ],
)
def test_what_an_esp32_cannot_do(old: Bench, wanted: Wanted, says: str) -> None:
    assert says in refused(old, wanted)


def test_secure_boot_v1_is_in_the_way(old: Bench) -> None:
    old.do(lambda fuses: fuses.burn({"ABS_DONE_0": 1}))
    assert "v1 is on" in refused(old, Wanted(secure_boot=DIGESTS[:1]))


def test_the_counter_does_not_go_back(s3: Bench) -> None:
    s3.burn(Wanted(secure_version=4))
    assert "stands at 4" in refused(s3, Wanted(secure_version=3))
    assert "up to 16" in refused(s3, Wanted(secure_version=17))
    assert s3.burn(Wanted(secure_version=5)) == ["security counter 5"]


def test_another_digest_is_in_the_way(bench: Bench) -> None:
    bench.burn(Wanted(secure_boot=DIGESTS[:1]))
    assert "digest of another key" in refused(bench, Wanted(secure_boot=DIGESTS[1:2]))


def test_the_same_key_twice(s3: Bench) -> None:
    assert "twice" in refused(s3, Wanted(secure_boot=DIGESTS[:1] * 2))


def test_a_block_for_something_else_is_in_the_way(s3: Bench) -> None:
    s3.do(lambda fuses: fuses.burn_key("BLOCK_KEY4", bytes(range(32)), "USER"))
    assert "BLOCK_KEY4 is locked" in refused(s3, Wanted(nvs_key=True))
    s3.do(lambda fuses: fuses.burn_key("BLOCK_KEY3", bytes(range(32)), "HMAC_DOWN_ALL"))
    assert "BLOCK_KEY3 is for HMAC_DOWN_ALL" in refused(s3, Wanted(flash_encryption="key"))


def test_no_key_can_be_hidden_after_secure_boot(bench: Bench) -> None:
    bench.burn(Wanted(secure_boot=DIGESTS[:1]))
    assert "RD_DIS is locked" in refused(bench, Wanted(flash_encryption="key"))


def test_a_switch_that_is_locked_open(s3: Bench) -> None:
    s3.do(lambda fuses: fuses.lock("DIS_ICACHE"))
    assert "DIS_PAD_JTAG is locked" in refused(s3, Wanted(jtag_off=True, secure_version=1))


def test_flash_encryption_that_somebody_else_switched_on(bench: Bench) -> None:
    name = "FLASH_CRYPT_CNT" if bench.chip == "esp32" else "SPI_BOOT_CRYPT_CNT"
    bench.do(lambda fuses: fuses.burn({name: 1}))
    assert "switched before" in refused(bench, Wanted(flash_encryption="key"))


def test_a_key_that_was_burnt_elsewhere_stays_and_none_is_made_up(bench: Bench) -> None:
    bench.burn(Wanted(flash_encryption="key"))
    vault = bench.vault()
    vault.path(FLASH_KEY).unlink()
    assert bench.burn(Wanted(flash_encryption="key", jtag_off=True)) == ["JTAG off"]
    assert vault.get(FLASH_KEY) is None


def cut_in_a_key(bench: Bench, wanted: Wanted, block: str) -> None:
    """Leaves a key that is burnt, but neither named nor hidden."""
    for at in range(1, 20):
        with bench.open() as fuses, pytest.raises(PowerCut), cuts(fuses, at):
            carry_out(fuses, steps(bench.chip, wanted), Vault(bench.place, fuses.mac))
        with bench.open() as fuses:
            if any(fuses.content(block)):
                assert fuses.readable(block) and fuses.purpose(block) == "USER"
                return
    raise AssertionError("no cut falls there")


def test_a_key_that_was_cut_and_whose_file_is_lost(bench: Bench) -> None:
    block = "BLOCK1" if bench.chip == "esp32" else "BLOCK_KEY3"
    wanted = Wanted(flash_encryption="key")
    cut_in_a_key(bench, wanted, block)
    path = bench.vault().path(FLASH_KEY)
    right = path.read_bytes()
    path.unlink()
    assert f"{block} holds something else" in refused(bench, wanted)
    path.write_bytes(bytes(32))
    assert f"{block} holds something else" in refused(bench, wanted)
    path.write_bytes(right)
    assert bench.burn(wanted) == ["key of flash encryption"]


def test_a_digest_that_was_cut_is_not_taken_for_another(bench: Bench) -> None:
    block = "BLOCK2" if bench.chip == "esp32" else "BLOCK_KEY0"
    cut_in_a_key(bench, Wanted(secure_boot=DIGESTS[:1]), block)
    assert f"{block} holds something else" in refused(bench, Wanted(secure_boot=DIGESTS[1:2]))
    assert bench.burn(Wanted(secure_boot=DIGESTS[:1]))[0] == "digest of signing key 1"


def test_a_chip_that_reads_its_blocks_with_errors(s3: Bench) -> None:
    with s3.open() as fuses:
        for block in fuses._commands.efuses.blocks:
            if block.name == "BLOCK_KEY2":
                block.num_errors = 2
        with pytest.raises(FleetlingError, match="cannot be relied on: BLOCK_KEY2"):
            check(fuses, Wanted(jtag_off=True))


def test_what_the_chip_does_not_take_is_noticed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fuses, "burn", lambda self, values: None)
    assert "did not take all of it" in refused(bench, Wanted(jtag_off=True))


def test_what_fails_late_fails_on_the_copy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fuses, "lock", lambda self, name: None)
    assert "did not take all of it" in refused(bench, Wanted("key", False, DIGESTS[:1]))


def test_no_word_of_espefuse_reaches_anybody(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    """It names bits of a key that does not fit what a block holds."""
    block, purpose = (
        ("BLOCK1", "flash_encryption")
        if bench.chip == "esp32"
        else ("BLOCK_KEY3", "XTS_AES_128_KEY")
    )
    key = bytes(range(1, 33))
    with bench.open() as fuses:
        fuses.burn_key(block, bytes(32 * [0xFF]), purpose)
        with pytest.raises(FleetlingError) as caught:
            fuses.burn_key(block, key, purpose)
    told = "".join(capfd.readouterr()) + str(caught.value.__cause__ or caught.value.__context__)
    assert told == "None"
    assert caught.value.message == f"The chip did not take it: {block}"


def test_an_esp32_finishes_a_key_of_which_some_bits_were_burnt(old: Bench) -> None:
    """Its blocks have no code over them: what is a part of the key can still become the key."""
    mac = old.do(lambda fuses: fuses.mac)
    key = Vault(old.place, mac).make(FLASH_KEY)
    part = bytes(byte & 0x5A for byte in key[::-1])

    def torn(fuses: Fuses) -> None:
        fuses._commands.efuses["BLOCK1"].save(part)
        fuses._commands.efuses.burn_all()

    old.do(torn)
    assert old.do(lambda fuses: fuses.content("BLOCK1")) == part
    assert old.burn(Wanted(flash_encryption="key")) == ["key of flash encryption"]


# --- interruptions


class PowerCut(Exception):
    pass


class cuts:
    """The power goes at the controller's command number `at`, right before or right after it."""

    def __init__(self, fuses: Fuses, at: int, after: bool = True) -> None:
        self.esp, self.left, self.after = fuses._commands.esp, at, after

    def __enter__(self) -> cuts:
        handle, regs = self.esp.handle_writing_event, self.esp.REGS
        register = getattr(regs, "EFUSE_REG_CMD", None) or regs.EFUSE_CMD_REG

        def counted(addr: int, value: int) -> None:
            # Zeros are the emulation's own: the command is over.
            if addr == register and value:
                self.left -= 1
                if not self.left and not self.after:
                    raise PowerCut
            handle(addr, value)
            if addr == register and value and not self.left and self.after:
                raise PowerCut

        self.esp.handle_writing_event = counted
        return self

    def __exit__(self, *_: object) -> None:
        del self.esp.handle_writing_event


def commands(bench: Bench, wanted: Wanted) -> int:
    """How many commands a whole run gives the controller."""
    with bench.open() as fuses:
        meter = cuts(fuses, 1 << 30)
        with meter:
            carry_out(fuses, steps(bench.chip, wanted), Vault(bench.place, fuses.mac))
        return (1 << 30) - meter.left


def sweep(bench: Bench, every: int) -> Iterator[tuple[int, bool]]:
    wanted = ALL[bench.chip]
    bench.do(lambda fuses: None)
    fresh = bench.file.read_bytes()
    whole = commands(bench, wanted)
    finished = bench.file.read_bytes()
    assert whole > 40
    for at in range(1, whole + 1, every):
        for after in (False, True):
            bench.file.write_bytes(fresh)
            shutil.rmtree(bench.place.folder / "secrets/efuse")
            with bench.open() as fuses, pytest.raises(PowerCut), cuts(fuses, at, after):
                carry_out(fuses, steps(bench.chip, wanted), Vault(bench.place, fuses.mac))
            bench.burn(wanted)
            assert bench.file.read_bytes() == finished, (at, after)
            yield at, after


@pytest.mark.slow
def test_cut_at_any_command_and_run_again(bench: Bench) -> None:
    """Thinned; every one of them was run once, too."""
    assert len(list(sweep(bench, 41))) > 2
