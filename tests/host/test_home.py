# SPDX-License-Identifier: MIT
"""A fleet's folder and what `provision` puts into it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fleetling import files, home
from fleetling.broker import process
from fleetling.broker.fleet import broker_files
from fleetling.broker.process import LocalBroker
from fleetling.cli import broker
from fleetling.errors import FleetlingError
from fleetling.home import UNFINISHED, Home, Plan, create, find
from fleetling.image.nvs import LIMITS, Provision, build_nvs
from fleetling.pki import make_authority
from fleetling.provision import Order, Provisioner, check_orders, read_csv, ready_identity
from fleetling.registry import Store
from fleetling.simboard.chip import nvs as chip_nvs
from fleetling.simboard.chip import nvs_format
from fleetling.simboard.chip.flash import Flash, MemoryStore

PLAN = Plan("farm", "mqtt.example:8883", "mqtt.example:8884", [("home", "secret")])


@pytest.fixture
def fleet(tmp_path: Path) -> Home:
    return create(tmp_path / "farm", PLAN)


def provisioner(fleet: Home) -> Provisioner:
    return Provisioner(fleet, fleet.authority("claim-ca", None), Store(fleet.database))


def blobs(image: bytes) -> dict[str, bytes]:
    """What a board reads from an NVS image, by the chip's own reader."""
    store = MemoryStore(0x10000)
    store.write(0x9000, image)
    opened = chip_nvs.Nvs(Flash(store, 0x10000), 0x9000, len(image))
    found = {}
    for key in LIMITS:
        try:
            found[key] = bytes(opened.get("fl_factory", nvs_format.BLOB_V1, key))
        except Exception:  # noqa: BLE001 - whatever the chip says of a missing key
            continue
    return found


def test_the_boards_own_map_has_room_for_what_the_host_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from agent.storage.nvsmap import MAP

    assert MAP["fl_factory"] == LIMITS


def test_secrets_are_private_and_signing_keys_are_encrypted(tmp_path: Path) -> None:
    fleet = create(tmp_path, Plan("f", "h:1", "h:2", [], passphrase=b"correct horse"))
    secrets = fleet.folder / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for path in secrets.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for name in ("fleet-ca", "claim-ca", "root", "targets"):
        assert fleet.encrypted(name)
        with pytest.raises(TypeError):
            load_pem_private_key(fleet.secret(f"{name}.key").read_bytes(), None)
    for name in ("broker", "hub", "operator", "snapshot", "timestamp"):
        assert not fleet.encrypted(name)
    with pytest.raises(FleetlingError, match="does not open"):
        fleet.authority("fleet-ca", b"wrong")
    assert fleet.authority("fleet-ca", b"correct horse").certificate
    assert "secrets/" in (fleet.folder / ".gitignore").read_text().splitlines()


def test_a_fleet_is_never_made_over_another(fleet: Home) -> None:
    before = {path: path.read_bytes() for path in fleet.folder.rglob("*") if path.is_file()}
    with pytest.raises(FleetlingError, match="already holds"):
        create(fleet.folder, PLAN)
    after = {path: path.read_bytes() for path in fleet.folder.rglob("*") if path.is_file()}
    assert before == after


def test_an_init_that_was_interrupted_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(home, "write_private", cut)
        with pytest.raises(BaseException):  # noqa: B017 - whatever came first
            create(tmp_path, PLAN)
    assert not (tmp_path / "secrets").exists() and not (tmp_path / UNFINISHED).exists()
    # A power cut cannot even clean up.
    (tmp_path / UNFINISHED / "secrets").mkdir(parents=True)
    assert create(tmp_path, PLAN).text("name") == "farm"


def test_an_init_that_was_cut_before_its_last_step_is_finished(tmp_path: Path) -> None:
    made = create(tmp_path, PLAN)
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / "fleetling.toml").rename(tmp_path / UNFINISHED / "fleetling.toml")
    key = made.secret("fleet-ca.key").read_bytes()
    assert create(tmp_path, PLAN).secret("fleet-ca.key").read_bytes() == key
    (tmp_path / "fleetling.toml").unlink()
    with pytest.raises(FleetlingError, match="no fleetling"):
        create(tmp_path, PLAN)


@pytest.mark.parametrize("cut", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_private_file_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: BaseException
) -> None:
    def fail(descriptor: int) -> None:
        raise cut

    path = tmp_path / "targets-01234567.key"  # half of one would keep `release sign` from work
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(type(cut)):
            home.write_private(path, b"key")
    assert list(tmp_path.iterdir()) == []
    home.write_private(path, b"key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.stat().st_nlink == 1
    for links in (True, False):
        if not links:
            monkeypatch.setattr("os.link", Mock(side_effect=OSError(errno.EPERM, "no links")))
        with pytest.raises(FileExistsError):
            home.write_private(path, b"other")
        assert path.read_bytes() == b"key" and list(tmp_path.iterdir()) == [path]
    home.write_private(tmp_path / "other.key", b"other")
    assert (tmp_path / "other.key").read_bytes() == b"other"


def test_a_broker_that_ends_is_told(fleet: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(LocalBroker):
        def start(self) -> None:
            self._log.write_text("out of memory\n")

    monkeypatch.setattr(broker, "LocalBroker", Ended)
    done = CliRunner().invoke(broker.command, ["run", "--home", str(fleet.folder)])
    assert isinstance(done.exception, FleetlingError) and "out of memory" in str(done.exception)


def test_a_broker_starts_for_a_user_without_a_name(
    fleet: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    monkeypatch.setattr("getpass.getuser", Mock(side_effect=KeyError("getpwuid()")))
    monkeypatch.setattr(process, "find_mosquitto", lambda: "mosquitto")
    started = LocalBroker(broker_files(fleet), fleet.folder / "broker", kind="mosquitto")
    assert started._command()[0] == "mosquitto"


def test_two_that_make_a_fleet_at_once_make_one(tmp_path: Path) -> None:
    def attempt(_: int) -> str:
        try:
            create(tmp_path, PLAN)
        except FleetlingError as e:
            return e.message
        return "made"

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(attempt, range(4)))
    assert sorted(told) == sorted(["made", *[f"{tmp_path} already holds a fleet"] * 3])
    made = find(tmp_path)
    for name in ("fleet-ca", "claim-ca"):
        key = made.authority(name, None).identity.key.public_key()
        assert made.certificate(name).public_key() == key


def test_two_that_provision_the_same_boards_at_once_mix_nothing(fleet: Home) -> None:
    orders = [Order(f"b-{number}") for number in range(12)]

    def provide(_: int) -> int:
        return sum(new for _, new in provisioner(fleet).run(orders))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(provide, range(4))) == len(orders)
    for order in orders:
        folder = fleet.boards / order.device_id
        card = json.loads((folder / "board.json").read_text())
        assert hashlib.sha256((folder / "nvs.bin").read_bytes()).hexdigest() == card["sha256"]


def test_two_that_let_the_same_devices_come_are_both_heard(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    Store(url)
    ids = [f"d-{number}" for number in range(300)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Store(url).expect(ids), range(4)))
    assert sum(found) == len(ids)


def test_again_does_not_bring_a_revoked_device_back(fleet: Home) -> None:
    list(provisioner(fleet).run([Order("a")]))
    Store(fleet.database).revoke("a")
    with pytest.raises(FleetlingError, match="was revoked"):
        list(provisioner(fleet).run([Order("a")], again=True))
    assert Store(fleet.database).device("a").status == "revoked"


def test_the_fleet_is_found_from_below(fleet: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    below = fleet.folder / "a/b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find(None).folder == fleet.folder.resolve()
    with pytest.raises(FleetlingError, match="No fleet"):
        find(below)


def test_a_spoilt_settings_file_is_told(fleet: Home) -> None:
    (fleet.folder / "fleetling.toml").write_text("name = \n")
    with pytest.raises(FleetlingError, match="cannot be read"):
        Home(fleet.folder).text("name")
    (fleet.folder / "fleetling.toml").write_text("[days]\nclaim = 0\n")
    with pytest.raises(FleetlingError, match=r"days\.claim"):
        Home(fleet.folder).days("claim")
    with pytest.raises(FleetlingError, match="has no broker"):
        Home(fleet.folder).text("broker")


def test_a_board_gets_a_claim_of_its_own(fleet: Home) -> None:
    orders = [Order("a"), Order("b", [("other", "pass")])]
    assert [new for _, new in provisioner(fleet).run(orders)] == [True, True]
    a, b = (blobs((fleet.boards / name / "nvs.bin").read_bytes()) for name in ("a", "b"))
    assert a["id"] == b"a" and a["enrol"] == b"mqtt.example:8884"
    assert json.loads(a["wifi"]) == [["home", "secret"]]
    assert json.loads(b["wifi"]) == [["other", "pass"]]
    assert a["claim_key"] != b["claim_key"] and "crt" not in a and "key" not in a
    assert stat.S_IMODE((fleet.boards / "a/nvs.bin").stat().st_mode) == 0o600
    assert [d.status for d in Store(fleet.database).devices()] == ["expected", "expected"]


def test_run_again_it_goes_on_where_it_was(fleet: Home) -> None:
    orders = [Order(f"board-{number}") for number in range(6)]
    running = provisioner(fleet).run(orders)
    next(running)
    next(running)
    running.close()  # Ctrl-C in the middle
    first = (fleet.boards / "board-0/nvs.bin").read_bytes()
    (fleet.boards / ".board-2.new").mkdir()  # a power cut in the middle of a board
    assert [new for _, new in provisioner(fleet).run(orders)] == [False, False] + [True] * 4
    assert (fleet.boards / "board-0/nvs.bin").read_bytes() == first
    assert sorted(path.name for path in fleet.boards.iterdir()) == [o.device_id for o in orders]
    list(provisioner(fleet).run([Order("board-0")], again=True))
    assert (fleet.boards / "board-0/nvs.bin").read_bytes() != first


def test_orders_are_looked_at_before_the_first_key_is_made() -> None:
    with pytest.raises(FleetlingError, match="there twice"):
        check_orders([Order("a"), Order("b"), Order("a")])
    with pytest.raises(FleetlingError, match="cannot be joined"):
        check_orders([Order("a"), Order("b", [("n" * 33, "")])])
    for name in ("A", "", "a" * 33, "claim-a", "hub", "operator", "a/b", "a+"):
        with pytest.raises(FleetlingError, match="cannot be a device id"):
            check_orders([Order(name)])


def test_csv_files(tmp_path: Path) -> None:
    path = tmp_path / "boards.csv"
    path.write_text('\ufeffid,ssid,password\na,,\nb,net,"pass,word"\n\n', encoding="utf-8")
    assert read_csv(path) == [Order("a"), Order("b", [("net", "pass,word")])]
    for text, words in (
        ("", "no column id"),
        ("name\na\n", "unknown columns"),
        ("id,color\na,red\n", "unknown columns"),
        ("id\n", "names no board"),
        ("id\na\nB\n", "line 3"),
        ("id\na,b\n", "line 2"),
        ("id,password\na,secret\n", "line 2"),
    ):
        path.write_text(text)
        with pytest.raises(FleetlingError, match=words):
            read_csv(path)
    path.write_bytes(b"id\n\xff\xfe\n")
    with pytest.raises(FleetlingError, match="cannot be read"):
        read_csv(path)


def test_a_ready_identity_must_fit(fleet: Home, tmp_path: Path) -> None:
    own = make_authority("own CA")
    mine, other = own.client("a"), own.client("b")
    files = {"crt": mine.certificate_pem, "key": mine.key_pem(), "other": other.key_pem()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    identity = ready_identity("a", tmp_path / "crt", tmp_path / "key")
    provisioner(fleet).store_ready(Order("a"), identity)
    stored = blobs((fleet.boards / "a/nvs.bin").read_bytes())
    assert stored["crt"] == mine.certificate_der and "claim_crt" not in stored
    assert Store(fleet.database).devices() == []  # nothing to enrol
    with pytest.raises(FleetlingError, match="already"):
        provisioner(fleet).store_ready(Order("a"), identity)
    for device, certificate, key, words in (
        ("b", "crt", "key", "not for 'b'"),
        ("a", "crt", "other", "not for the key"),
        ("a", "key", "key", "not a certificate"),
        ("a", "crt", "crt", "cannot be read"),
        ("a", "none", "key", "cannot be read"),
    ):
        with pytest.raises(FleetlingError, match=words):
            ready_identity(device, tmp_path / certificate, tmp_path / key)


def test_what_does_not_fit_a_board_is_refused() -> None:
    authority = make_authority("CA")
    base = {
        "device_id": "a",
        "ca": authority.identity.certificate_der,
        "broker": "h:1",
        "wifi": [("net", "password")],
    }
    claim = {"claim": authority.claim("a"), "enrol": "h:2"}
    assert len(build_nvs(Provision(**base, **claim))) == 0x4000  # type: ignore[arg-type]
    for changes, words in (
        ({}, "needs a claim or a ready identity"),
        ({**claim, "identity": authority.client("a")}, "and not both"),
        ({**claim, "enrol": ""}, "no endpoint"),
        ({**claim, "broker": "host"}, "no endpoint"),
        ({**claim, "broker": "host:0"}, "no endpoint"),
        ({**claim, "wifi": [("n" * 32, "p" * 63)] * 4}, "fit"),
        ({**claim, "ca": bytes(513)}, "fit"),
    ):
        with pytest.raises(FleetlingError, match=words):
            build_nvs(Provision(**{**base, **changes}))  # type: ignore[arg-type]


def test_certificates_of_the_staff_are_renewed_for_the_same_keys(fleet: Home) -> None:
    names = ("broker", "hub", "operator")
    keys = {name: fleet.secret(f"{name}.key").read_bytes() for name in names}
    old = {name: fleet.certificate(name) for name in names}
    settings = fleet.folder / home.SETTINGS
    moved = settings.read_text().replace('"mqtt.example:8883"', '"10.0.0.7:8883"')
    settings.write_text(moved.replace("staff = 825", "staff = 900"))
    (fleet.folder / "secrets/.hub.pem.new").write_text("of a renewal that was cut")
    authority = fleet.authority("fleet-ca", None)
    until = home.renew(Home(fleet.folder), authority)
    for name in names:
        made = fleet.certificate(name)
        made.verify_directly_issued_by(authority.certificate)
        assert fleet.secret(f"{name}.key").read_bytes() == keys[name]
        assert stat.S_IMODE(fleet.secret(f"{name}.pem").stat().st_mode) == 0o600
        assert made.public_key() == old[name].public_key() and made.subject == old[name].subject
        assert made.serial_number != old[name].serial_number
        assert until[name] == made.not_valid_after_utc
        kind = x509.ExtendedKeyUsage
        usage = [c.extensions.get_extension_for_class(kind).value for c in (made, old[name])]
        assert usage[0] == usage[1]
    assert (until["hub"] - old["hub"].not_valid_after_utc).days == 75
    reached = fleet.certificate("broker").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert reached.value.get_values_for_type(x509.DNSName) == ["mqtt.example"]
    assert [str(a) for a in reached.value.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert not list((fleet.folder / "secrets").glob(".*"))


def test_a_folder_on_nfs_is_locked_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locked = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # as nfs(5) has it
        real(descriptor, how)
        locked.append(descriptor)

    monkeypatch.setattr(fcntl, "flock", flock)
    place = create(tmp_path, Plan("farm", "127.0.0.1:1", "127.0.0.1:2", []))
    assert place.folder == tmp_path and len(locked) == 1
    with (
        files.alone(tmp_path),
        (tmp_path / files.LOCK).open("w") as other,
        pytest.raises(BlockingIOError),
    ):
        real(other.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_works_on_windows_needs_no_lock_of_posix() -> None:
    # What nearly all commands load; pyserial takes another module there.
    script = "import sys; sys.modules['fcntl'] = None; import fleetling.home, fleetling.provision"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_fleet_is_made_where_folders_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def opened(path: Path, *rest: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *rest)

    monkeypatch.setattr(files, "os", Mock(wraps=os))
    files.os.name = "nt"  # type: ignore[attr-defined]
    monkeypatch.setattr(os, "open", opened)
    assert create(tmp_path, Plan("farm", "127.0.0.1:1", "127.0.0.1:2", [])).folder == tmp_path
