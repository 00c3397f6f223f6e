# SPDX-License-Identifier: MIT
from agent.config import schema

TABLE, _ = schema.table(
    {
        "rate": {"type": "float", "default": 0.5, "least": 0, "greatest": 10},
        "on": {"type": "bool", "default": False},
        "mode": {"type": "str", "default": "eco", "choices": ["eco", "fast"]},
        "serial": {"type": "str", "default": "", "read_only": True},
        "token": {"type": "str", "default": "", "longest": 40, "secret": True},
    }
)

CASES = (
    ("heartbeat_s", 1, None),
    ("heartbeat_s", 86400, None),
    ("heartbeat_s", 0, "setting-range"),
    ("heartbeat_s", 86401, "setting-range"),
    ("heartbeat_s", True, "setting-type"),
    ("heartbeat_s", 5.5, None),
    ("reconnect_s", 5.0, "setting-type"),
    ("heartbeat_s", None, "setting-type"),
    ("nope", 1, "setting-unknown"),
    ("log_level", "D", None),
    ("log_level", "d", "setting-choice"),
    ("name", "n" * 32, None),
    ("name", "n" * 33, "setting-length"),
    ("name", "a\nb", "setting-type"),
    ("window", "02:00-04:00", None),
    ("window", "", None),
    ("window", "02:00-24:00", "setting-type"),
    ("window", "2:00-4:00", "setting-type"),
    ("window", "+2:00-04:00", "setting-type"),
    ("broker", "hub.example:8883", None),
    ("broker", "hub.example", "setting-type"),
    ("broker", ":8883", "setting-type"),
    ("broker", "hub.example:65536", "setting-type"),
    ("groups", ["a", "b"], None),
    ("groups", ["a", 1], "setting-type"),
    ("groups", ["a"] * 17, "setting-length"),
    ("groups", ["a" * 65], "setting-length"),
    ("wifi", [["net", "password"]], None),
    ("wifi", [["net", ""]], None),
    ("wifi", [["net", "short"]], "setting-type"),
    ("wifi", [["", "password"]], "setting-type"),
    ("wifi", [["n" * 33, "password"]], "setting-type"),
    ("wifi", [["net"]], "setting-type"),
    ("wifi", [], "setting-length"),
    ("wifi", [["net", "password"]] * 5, "setting-length"),
    ("wifi", "net", "setting-type"),
    ("app.rate", 3, None),
    ("app.rate", 2.5, None),
    ("app.rate", 10.5, "setting-range"),
    ("app.rate", float("nan"), "setting-type"),
    ("app.rate", float("inf"), "setting-type"),
    ("app.on", True, None),
    ("app.on", 1, "setting-type"),
    ("app.mode", "slow", "setting-choice"),
    ("app.serial", "1", "setting-read-only"),
    ("rate", 3, "setting-unknown"),
)


def test_every_kind_of_value_has_its_code():
    for name, value, code in CASES:
        assert schema.check(TABLE, name, value) == code, (name, value)


def test_the_agents_own_defaults_are_valid():
    for name, entry in schema.AGENT.items():
        if name not in ("wifi", "broker"):  # these come from the flashing tool
            assert schema.check(schema.AGENT, name, entry[1]) is None, name


BAD = (
    None,
    [],
    {},
    {"type": "int"},
    {"type": "wifi", "default": []},
    {"type": "int", "default": "1"},
    {"type": "int", "default": 5, "greatest": 4},
    {"type": "int", "default": 5, "least": "1"},
    {"type": "int", "default": 5, "typo": 1},
    {"type": "int", "default": 5, "secret": 1},
    {"type": "str", "default": "a", "choices": "abc"},
    {"type": "str", "default": "d", "choices": ["a"]},
    {"type": "str", "default": "ab", "longest": 1},
    {"type": [], "default": 1},
)


def test_a_setting_of_an_application_that_makes_no_sense_is_left_out():
    good = {"type": "int", "default": 1}
    for bad in BAD:
        table, refused = schema.table({"bad": bad, "good": good})
        assert refused == ["bad"] and "app.bad" not in table and "app.good" in table, bad
    for name in ("", "A", "a.b", "a" * 25):
        assert schema.table({name: good})[1] == [name]
    assert schema.table([1]) == (schema.AGENT, ["settings"])
    assert schema.table() == (schema.AGENT, [])
    many = dict([("s{}".format(i), good) for i in range(40)])
    table, refused = schema.table(many)
    assert len(table) == len(schema.AGENT) + 32 and len(refused) == 8


def test_what_is_described_reads_back_the_same():
    described = schema.describe(TABLE)
    own = dict([(name[4:], described[name]) for name in TABLE if name.startswith("app.")])
    assert own["token"]["default"] is None  # a default that is secret is not published
    own["token"]["default"] = ""
    table, refused = schema.table(own)
    assert refused == []
    for name in table:
        if name not in ("app.mode",):
            assert table[name] == TABLE[name], name
    assert list(table["app.mode"][4]) == ["eco", "fast"]
