# SPDX-License-Identifier: MIT
from support import FakeNvs, raises

from agent.errors import Refused
from agent.identity import stored
from agent.link import wifi

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
    identity = stored.load(nvs())
    assert (identity.id, identity.host, identity.port) == ("dev-1", "broker.example", 8883)
    assert identity.ca == LONG and identity.certificate == LONGER and identity.key == DER


def test_a_board_without_an_id_was_never_provisioned():
    assert stored.load(FakeNvs()) is None


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


def test_wifi_lists():
    assert wifi.parse(b'[["home","secret"],["open",""]]') == [("home", "secret"), ("open", "")]
    assert wifi.parse(b"[]") == []
    for data in (b"", b"{}1", b"7", b"[7]", b'[["a"]]', b'[["",""]]', b'[["a",7]]', b"null"):
        assert raises(Refused, wifi.parse, data).code == "wifi-list", data
    assert raises(Refused, wifi.parse, b'[["' + b"x" * 33 + b'",""]]').code == "wifi-list"
