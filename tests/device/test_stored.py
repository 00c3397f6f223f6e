# SPDX-License-Identifier: MIT
import os

from support import FakeNvs, quiet_log, raises

from agent.errors import Refused
from agent.identity import stored
from agent.link import join
from agent.storage import files

DER = b"\x30\x03abc"
LONG = b"\x30\x81\x90" + bytes(0x90)
LONGER = b"\x30\x82\x01\x00" + bytes(0x100)


def nvs(**changes):
    made = FakeNvs()
    made.values = {
        "id": b"dev-1",
        "ca": LONG,
        "broker": b"broker.example:8883",
        "crt": LONGER,
        "key": DER,
    }
    made.values.update(changes)
    return made


def test_a_whole_identity():
    own, claim = stored.load(nvs())
    assert own.name == "dev-1" and own.endpoint == ("broker.example", 8883) and claim is None
    assert own.ca == LONG and own.certificate == LONGER and own.key == DER


CLAIM = {"crt": None, "key": None, "claim_crt": LONG, "claim_key": DER, "enrol": b"door:8884"}


def test_a_claim_with_its_own_door():
    own, claim = stored.load(nvs(**CLAIM))
    assert own.name == "dev-1" and own.certificate is None and own.key is None
    assert claim.name == "claim-dev-1" and claim.endpoint == ("door", 8884) and claim.ca == LONG
    assert claim.certificate == LONG and claim.key == DER


def test_without_claim_and_identity_there_is_still_a_name():
    own, claim = stored.load(nvs(crt=None, key=None))
    assert own.name == "dev-1" and claim is None


PATH = "/tmp/fleetling-test-factory"


def forget():
    try:
        os.remove(PATH)
    except OSError:
        pass  # the run before left none


def test_what_leads_home_survives_the_loss_of_nvs():
    forget()
    given = nvs(wifi=b"[]", **CLAIM)
    assert stored.source(given, quiet_log([]), PATH) is given
    lines = []
    copy = stored.source(FakeNvs(), quiet_log(lines), PATH)
    for key in ("id", "ca", "broker", "wifi"):
        assert copy.get(key) == given.get(key)
    assert copy.get("claim_key") is None and copy.get("claim_crt") is None
    assert "NVS is empty" in lines[0]


def test_the_copy_follows_a_new_provisioning_and_is_not_written_again_for_nothing():
    forget()
    stored.source(nvs(), quiet_log([]), PATH)
    before = os.stat(PATH)[1]  # the inode: a replaced file has another
    stored.source(nvs(), quiet_log([]), PATH)
    assert os.stat(PATH)[1] == before
    stored.source(nvs(id=b"dev-2"), quiet_log([]), PATH)
    assert os.stat(PATH)[1] != before
    assert stored.source(FakeNvs(), quiet_log([]), PATH).get("id") == b"dev-2"


def test_a_spoilt_copy_and_a_file_system_that_fails_change_nothing():
    forget()
    given = nvs()
    stored.source(given, quiet_log([]), PATH)
    data = bytearray(files.read(PATH))
    data[30] ^= 1
    files.replace(PATH, bytes(data))
    empty = FakeNvs()
    assert stored.source(empty, quiet_log([]), PATH) is empty
    assert stored.source(given, quiet_log([]), "/no/such/folder/factory") is given


def test_a_board_without_an_id_was_never_provisioned():
    assert stored.load(FakeNvs()) == (None, None)


def test_each_fault_has_its_code():
    for key, values, code in (
        ("id", (b"", b"Dev", b"a" * 33, b"a/b", b"a+", b"\xff", b"\xc3\xa4"), "identity-id"),
        (
            "broker",
            (None, b"", b"host", b"host:", b":1", b"h:0", b"h:65536", b"h:x", b"\xff:1"),
            "identity-broker",
        ),
        ("ca", (None, b"", b"0", DER[:-1], DER + b"x", b"\x31" + DER[1:]), "identity-ca"),
        ("crt", (None, LONGER[:-1], LONGER + b"x", b"\x30\x84\0\0\0\1\0"), "identity-certificate"),
        ("key", (None, b"\x30\x80" + bytes(9)), "identity-key"),
    ):
        for value in values:
            assert raises(Refused, stored.load, nvs(**{key: value})).code == code, (key, value)


def test_each_fault_of_a_claim_has_its_code():
    for key, value, code in (
        ("claim_crt", b"0", "identity-certificate"),
        ("claim_key", None, "identity-key"),
        ("enrol", None, "identity-broker"),
    ):
        changes = dict(CLAIM)
        changes[key] = value
        assert raises(Refused, stored.load, nvs(**changes)).code == code


def test_wifi_lists():
    assert join.parse(b'[["home","secret"],["open",""]]') == [("home", "secret"), ("open", "")]
    assert join.parse(b"[]") == []
    for data in (b"", b"{}1", b"7", b"[7]", b'[["a"]]', b'[["",""]]', b'[["a",7]]', b"null"):
        assert raises(Refused, join.parse, data).code == "wifi-list", data
    assert raises(Refused, join.parse, b'[["' + b"x" * 33 + b'",""]]').code == "wifi-list"
