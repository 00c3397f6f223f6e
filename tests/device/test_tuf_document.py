# SPDX-License-Identifier: MIT
"""Reading signed JSON: what is refused, the canonical form, and no exception but Refused."""

from support import raises

from agent.crypto.steps import finish
from agent.errors import Refused
from agent.update.tuf import document
from agent.update.tuf.canonical import canonical
from agent.update.tuf.grammar import check
from agent.update.tuf.metadata import unix_time

_DEPTH = 8

SAMPLE = (
    b'{"signed": {"b": [1, -20, true, null, {"x": []}], "a": "q\\"\\\\\\n\\u20ac\\ud83d\\ude80",'
    b' "": {}}, "signatures": [{"sig": "", "keyid": "k"}]}'
)

REFUSED = (
    b"",
    b" ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"{]",
    b"[}",
    b"{}{}",
    b"{} x",
    b"[1 2]",
    b"[1,]",
    b"[,1]",
    b"{,}",
    b'{"a" 1}',
    b'{"a":1,}',
    b'{"a"}',
    b'{"a":}',
    b"{1:2}",
    b'{"a":1 "b":2}',
    b"nul",
    b"nullx",
    b"True",
    b"NaN",
    b"Infinity",
    b"-",
    b"+1",
    b"01",
    b"-01",
    b"1.0",
    b"1e3",
    b"0x10",
    b"1" * 19,
    b'"',
    b'"\\',
    b'"\\"',
    b'"\\x41"',
    b'"\\u12"',
    b'"\\u12g4"',
    b'"\\ud800"',
    b'"\\udc00"',
    b'"\\ud800\\u0041"',
    b'"\xff"',
    b'"\xc3"',
    b"\xef\xbb\xbf{}",
    b"[" * (_DEPTH + 1) + b"]" * (_DEPTH + 1),
    b"[" * 100000,
    b'{"a":' * 5000,
    b"'a'",
    b"/* */ 1",
)

ACCEPTED = (
    b"{}",
    b" [ ] ",
    b"0",
    b"-0",
    b"1" * 18,
    b'"\\u00e9\\/\\b\\f"',
    b'"\xc3\xa9"',
    b'\t{"a"\n:\r[ true , false,null ]}',
    b"[" * _DEPTH + b"]" * _DEPTH,
)


def canonical_of(data):
    out = bytearray()
    finish(check(data, _DEPTH))
    finish(canonical(data, document.blank(data, 0), out.extend))
    return bytes(out)


def test_only_strict_json_passes():
    for data in REFUSED:
        assert raises(Refused, finish, check(data, _DEPTH)).code == "tuf-format", data
    for data in ACCEPTED:
        finish(check(data, _DEPTH))
    finish(check(SAMPLE, _DEPTH))


def test_canonical_form():
    assert canonical_of(SAMPLE) == (
        b'{"signatures":[{"keyid":"k","sig":""}],"signed":{"":{},'
        b'"a":"q\\"\\\\\n\xe2\x82\xac\xf0\x9f\x9a\x80","b":[1,-20,true,null,{"x":[]}]}}'
    )
    assert canonical_of(b'{"b":1,"a":2,"B":3,"\\u00e9":4,"ab":5}') == (
        b'{"B":3,"a":2,"ab":5,"b":1,"\xc3\xa9":4}'
    )
    assert canonical_of(b"[-0,[],{}]") == b"[0,[],{}]"


def test_a_name_stands_once():
    for data in (b'{"a":1,"a":1}', b'[{"x":{"a":1,"b":2,"\\u0061":3}}]'):
        assert raises(Refused, canonical_of, data).code == "tuf-format"
    assert raises(Refused, document.fields, b'{"a":1,"a":1}', 0, ("a",)).code == "tuf-format"
    assert document.fields(b'{"a":1,"b":2,"b":3}', 0, ("a",)) == {"a": 5}


def test_members_and_elements():
    data = b'{ "a" : [ 1 , "x]" ,{}] , "b":"}" }'
    found = dict(document.members(data, 0))
    assert sorted(found) == ["a", "b"]
    assert document.text(data, found["b"]) == "}"
    items = list(document.elements(data, found["a"]))
    assert document.integer(data, items[0], 0) == 1
    assert document.text(data, items[1]) == "x]"
    assert document.plain(data, found["a"]) == [1, "x]", {}]


def test_types():
    data = b'[1,"2",true,null,{},[],-3]'
    number, text, truth, _, thing, items, negative = document.elements(data, 0)
    assert document.boolean(data, truth) is True
    for read, at in (
        (document.integer, text),
        (document.integer, truth),
        (document.integer, negative),
        (document.text, number),
        (document.boolean, number),
        (document.boolean, text),
    ):
        arguments = (0,) if read is document.integer else ()
        assert raises(Refused, read, data, at, *arguments).code == "tuf-format"
    for read, at in ((document.members, items), (document.elements, thing)):
        assert raises(Refused, list, read(data, at)).code == "tuf-format"
    assert raises(Refused, document.text, b'"abcd"', 0, 3).code == "tuf-format"


def test_any_damage_gives_refused_or_a_document():
    """Every single byte changed, removed, doubled; then seeded heaps of damage."""
    tried = 0
    for at in range(len(SAMPLE)):
        for byte in (b"", b'"', b"\\", b"{", b"]", b",", b"\xff", b"0", b"u", b" "):
            tried += survives(SAMPLE[:at] + byte + SAMPLE[at + 1 :])
        tried += survives(SAMPLE[:at])
        tried += survives(SAMPLE[:at] + SAMPLE[at : at + 1] + SAMPLE[at:])
    seed = 1
    alphabet = b'{}[]",:\\u0d8a1-e. \xc3\xa9'
    for _ in range(1500):
        data = bytearray()
        for _ in range(seed % 40):
            seed = (seed * 48271) % 2147483647
            data.append(alphabet[seed % len(alphabet)])
        seed = (seed * 48271) % 2147483647
        tried += survives(bytes(data))
    assert tried > 3000


def survives(data):
    try:
        canonical_of(data)
        at = document.fields(data, document.blank(data, 0), ("signed",)).get("signed")
        if at is not None:
            document.plain(data, at)
    except Refused as e:
        assert e.code == "tuf-format"
    return 1


def test_times():
    assert unix_time("1970-01-01T00:00:00Z") == 0
    assert unix_time("2000-02-29T23:59:59Z") == 951868799
    assert unix_time("2038-01-19T03:14:08Z") == 1 << 31
    assert unix_time("2044-08-10T10:05:04Z") == 2354436304
    assert unix_time("9999-12-31T23:59:59Z") == 253402300799
    for bad in (
        "",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00z",
        "1900-02-29T00:00:00Z",
        "2000-00-01T00:00:00Z",
        "2000-01-00T00:00:00Z",
        "2000-04-31T00:00:00Z",
        "2000-01-01T24:00:00Z",
        "2000-01-01T00:60:00Z",
        "2000-01-01T00:00:60Z",
        "0000-01-01T00:00:00Z",
        "-000-01-01T00:00:00Z",
        "2000-01-01T00:00:0 Z",
    ):
        assert raises(Refused, unix_time, bad).code == "tuf-format", bad
