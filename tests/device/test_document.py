# SPDX-License-Identifier: MIT
from support import raises

from agent.errors import Refused
from agent.link import document


def refused(data):
    return raises(Refused, document.parse, data, "x-malformed").code == "x-malformed"


def test_objects_are_read():
    assert document.parse(b'{"a": [1, {"b": "c"}]}', "x-malformed") == {"a": [1, {"b": "c"}]}


def test_what_is_no_object_is_refused():
    for data in (b"", b"\xff", b"[1]", b"7", b'"x"', b'{"a":', b"nonsense"):
        assert refused(data), data


def test_a_name_is_text():
    for data in (b"{1:2}", b'{"a":{null:1}}', b'{"a":[{"b":{1.5:1}}]}', b"{[]:1}"):
        assert refused(data), data


class Lenient:
    """As MicroPython before 1.26, which takes what ends early for a whole document."""

    @staticmethod
    def loads(data):
        return {}


def test_what_ends_early_is_refused_whatever_the_interpreter_says():
    whole = b'{"a": [1, {"b": "c}"}], "d": {"e": [[]]}}'
    strict = document.json
    document.json = Lenient
    try:
        for end in range(1, len(whole)):
            assert refused(whole[:end]), whole[:end]
    finally:
        document.json = strict
    assert document.parse(whole + b" \r\n", "x-malformed")["d"] == {"e": [[]]}
    assert document.parse(b'{"a": "]}]"}', "x-malformed") == {"a": "]}]"}


def test_depth_is_bounded_before_memory_is_taken():
    for data in (b"[" * 4000, b'{"a":' * 600, b'{"a":' + b"[" * 8 + b"]" * 8 + b"}"):
        assert refused(data), data[:20]


def test_brackets_in_strings_and_side_by_side_do_not_count():
    deep = b'{"a":' + b"[" * 7 + b"]" * 7 + b"}"
    assert document.parse(deep, "x-malformed")["a"]
    wide = b'{"a":[' + b",".join([b"[]"] * 100) + b"]}"
    assert len(document.parse(wide, "x-malformed")["a"]) == 100
    text = document.parse(b'{"a":"' + b"[{" * 50 + b'\\"[[", "b":[]}', "x-malformed")
    assert text["a"].endswith('"[[')
