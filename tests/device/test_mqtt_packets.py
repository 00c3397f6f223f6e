# SPDX-License-Identifier: MIT
"""The bytes of OASIS MQTT 3.1.1, written out."""

from support import raises

from agent.errors import LinkError, Refused
from agent.link import arrivals, login, packets


def test_connect_is_the_standards_bytes():
    will = ("t/online", b"{}", True)
    assert login.connect("dev-1", 30, will) == (
        b"\x10\x1f\x00\x04MQTT\x04\x2e\x00\x1e\x00\x05dev-1\x00\x08t/online\x00\x02{}"
    )
    assert login.connect("a", 60) == b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"


def test_connect_with_a_user_and_a_password():
    head = b"\x00\x04MQTT\x04"
    assert login.connect("a", 60, None, ("me", None)) == (
        b"\x10\x11" + head + b"\x82\x00\x3c\x00\x01a\x00\x02me"
    )
    assert login.connect("a", 60, ("w", b"", False), ("me", b"\xff")) == (
        b"\x10\x19" + head + b"\xce\x00\x3c\x00\x01a\x00\x01w\x00\x00\x00\x02me\x00\x01\xff"
    )


def test_publish_and_subscribe_are_the_standards_bytes():
    assert packets.publish("a/b", b"hi", 0, False, 0) == b"\x30\x07\x00\x03a/bhi"
    assert packets.publish("a/b", b"hi", 1, True, 10) == b"\x33\x09\x00\x03a/b\x00\x0ahi"
    assert login.subscription([("a/#", 1)], 7) == b"\x82\x08\x00\x07\x00\x03a/#\x01"
    assert arrivals.puback(513) == b"\x40\x02\x02\x01"


def test_the_remaining_length_takes_as_many_bytes_as_it_needs():
    for size, length in (
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (300, b"\xac\x02"),
        (4099, b"\x83\x20"),
    ):
        data = packets.publish("t", bytes(size - 3), 0, False, 0)
        assert data[1 : 1 + len(length)] == length and len(data) == 1 + len(length) + size


def test_what_is_too_long_is_refused_before_it_is_sent():
    longest = packets.LONGEST_TOPIC
    for topic, payload in (
        ("t" * (longest + 1), b""),
        ("\xe9" * (longest // 2 + 1), b""),  # it is bytes that count
        ("t", bytes(packets.LONGEST_PAYLOAD + 1)),
    ):
        assert (
            raises(Refused, packets.publish, topic, payload, 0, False, 0).code == "mqtt-too-long"
        )
    packets.publish("t" * longest, bytes(packets.LONGEST_PAYLOAD), 1, False, 1)


def test_topics_are_text_without_wildcards():
    assert arrivals.check_topic(memoryview("a/\xe9".encode())) == "a/\xe9"
    for bad in (b"", b"\xff\xfe", b"a/#", b"+/a", b"a\x00"):
        error = raises(LinkError, arrivals.check_topic, memoryview(bad))
        assert (error.code, error.detail) == ("mqtt-malformed", "topic")
