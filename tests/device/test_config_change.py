# SPDX-License-Identifier: MIT
import json

from support import FakeBoard, FakeNvs, quiet_log, raises

from agent.config import change, schema, stored, trial
from agent.errors import Refused, StorageError
from agent.storage import nvsmap, records

CANARY = "canary-secret-1"
HOME = [["home", "password0"]]
FACTORY = {"wifi": HOME, "broker": "hub:8883", "heartbeat_s": 30}
TABLE, _ = schema.table({"n": {"type": "int", "default": 1, "greatest": 9}})


def opened(store, table=TABLE, lines=None):
    return change.load(store, quiet_log([] if lines is None else lines), table, FACTORY)


def fresh():
    store = FakeNvs()
    return store, opened(store)


def desired(version, config, epoch="e"):
    return json.dumps({"version": version, "epoch": epoch, "config": config}).encode()


def put(store, settings, version, config, epoch="e", uptime_s=0, table=TABLE):
    return change.apply(store, settings, table, desired(version, config, epoch), uptime_s)


def state(settings):
    return dict([(name, settings[name]) for name in settings.base])


def test_layers_default_factory_document():
    store, settings = fresh()
    assert settings["reconnect_s"] == 300 and settings["heartbeat_s"] == 30
    assert settings.get("nope") is None and settings.get("nope", 3) == 3
    assert raises(KeyError, lambda: settings["nope"])
    report = put(store, settings, 1, {"heartbeat_s": 60, "app.n": 2})
    assert report["keys"] == {} and report["version"] == 1 and not report["trial"]
    assert settings["heartbeat_s"] == 60 and settings["app.n"] == 2
    assert state(opened(store)) == state(settings)
    put(store, settings, 2, {})
    assert settings["heartbeat_s"] == 30 and stored.load(store)["c"] == {}


def test_only_what_differs_from_the_base_is_stored():
    store, settings = fresh()
    put(store, settings, 1, {"heartbeat_s": 30, "reconnect_s": 300, "name": "x"})
    assert stored.load(store) == {"v": 1, "e": "e", "c": {"name": "x"}}


def test_a_refused_key_keeps_its_value_and_the_others_change():
    store, settings = fresh()
    put(store, settings, 1, {"name": "a", "app.n": 2})
    writes = store.writes
    report = put(store, settings, 2, {"name": "b", "app.n": 10, "x": 1, "heartbeat_s": "1"})
    assert report["keys"] == {
        "app.n": "setting-range",
        "x": "setting-unknown",
        "heartbeat_s": "setting-type",
    }
    assert (settings["name"], settings["app.n"], settings["heartbeat_s"]) == ("b", 2, 30)
    assert store.writes == writes + 1
    assert state(opened(store)) == state(settings)


def test_older_documents_are_ignored_unless_the_epoch_changed():
    store, settings = fresh()
    put(store, settings, 5, {"name": "five"})
    writes = store.writes
    assert put(store, settings, 4, {"name": "four"}) is None
    again = put(store, settings, 5, {"name": "other", "x": 1})
    assert again["keys"] == {"x": "setting-unknown"} and again["version"] == 5
    assert settings["name"] == "five" and store.writes == writes
    settings = opened(store)
    assert put(store, settings, 4, {"name": "four"}) is None
    assert put(store, settings, 1, {"name": "one"}, "new")["epoch"] == "new"
    assert settings["name"] == "one"


def test_what_is_no_desired_document_is_refused_and_changes_nothing():
    store, settings = fresh()
    put(store, settings, 1, {"name": "a"})
    before, writes = state(settings), store.writes
    good = {"version": 2, "epoch": "e", "config": {}}
    for key, value in (
        ("version", "2"),
        ("version", True),
        ("version", -1),
        ("version", 10_000_000_000),
        ("version", 2.5),
        ("epoch", "e" * 17),
        ("epoch", 'a"'),
        ("epoch", "\u00e9"),
        ("epoch", None),
        ("config", []),
    ):
        bad = dict(good)
        bad[key] = value
        payload = json.dumps(bad).encode()
        code = raises(Refused, change.apply, store, settings, TABLE, payload, 0).code
        assert code == "settings-document", bad
    for payload in (b"", b"[]", b"{", b'{"version":2}'):
        raises(Refused, change.apply, store, settings, TABLE, payload, 0)
    assert state(settings) == before and store.writes == writes


def test_a_document_that_has_no_room_is_refused_whole():
    store, settings = fresh()
    put(store, settings, 1, {"name": "a"})
    writes = store.writes
    large = {"name": "b", "groups": ["g" * 60] * 8}
    e = raises(Refused, put, store, settings, 2, large)
    assert e.code == "settings-size" and settings["name"] == "a" and store.writes == writes


def test_the_largest_document_fits_its_record_also_when_it_is_undone():
    board = FakeBoard()
    store = nvsmap.open_nvs(board, "fl_conf")  # holds values to the sizes of the map
    settings = opened(store)
    config = {"location": "l" * 64, "groups": ["g" * 60] * 5}
    config["name"] = "n" * (440 - len(stored.text(config)) - len(',"name":""'))
    assert len(stored.text(config)) == 440
    put(store, settings, 1, config, "")
    config["wifi"] = [["other", "password1"]]
    assert raises(Refused, put, store, settings, 2, config).code == "settings-size"
    del config["groups"]
    report = put(store, settings, 9_999_999_999, config, "e" * 16, 2**31)
    assert report["trial"]
    trial.undo(store, settings)
    assert settings["groups"] == ["g" * 60] * 5 and opened(store).reverted
    assert len(board.namespaces["fl_conf"].values["conf1"]) <= 512


def test_a_full_nvs_leaves_everything_as_it_was():
    store, settings = fresh()
    put(store, settings, 1, {"name": "a"})
    before = state(settings)
    store.error = StorageError("nvs-full")
    for config in ({"name": "b"}, {"wifi": [["other", "password1"]]}):
        raises(StorageError, put, store, settings, 2, config)
        assert state(settings) == before and settings.trial is None
        assert settings.seen == ("e", 1)


def test_listeners_hear_of_their_settings_alone_and_cannot_stop_a_change():
    store, lines = FakeNvs(), []
    settings = opened(store, TABLE, lines)
    heard = []

    def fail():
        raise ValueError(CANARY)

    settings.on_change(("name",), fail)
    settings.on_change(("name", "role"), lambda: heard.append(settings["name"]))
    put(store, settings, 1, {"app.n": 2})
    assert heard == []
    put(store, settings, 2, {"name": "x", "role": "y"})
    assert heard == ["x"] and any(["listener ValueError" in line for line in lines])
    put(store, settings, 3, {"name": "x", "role": "y"})
    assert heard == ["x"]
    put(store, settings, 4, {})
    assert heard == ["x", ""]
    assert CANARY not in str(lines)


def test_a_secret_is_read_by_the_agent_and_never_reported():
    store, lines = FakeNvs(), []
    settings = opened(store, TABLE, lines)
    reports = [put(store, settings, 1, {"wifi": [["net", CANARY]]}, "e")]
    assert settings["wifi"] == [["net", CANARY]]
    reports.append(put(store, settings, 1, {"wifi": [["net", CANARY]]}, "e"))
    trial.undo(store, settings)
    reports.append(change.reported(settings, TABLE, {}))
    reports.append(put(store, settings, 2, {"wifi": [["net", CANARY], "bad"]}))
    reports.append(put(store, settings, 3, {"wifi": CANARY, "name": [CANARY]}))
    text = json.dumps(reports)
    assert CANARY not in text and "password0" not in text and CANARY not in str(lines)
    assert reports[0]["config"]["wifi"] is None and reports[0]["secret"] == ["wifi"]
    assert CANARY not in str(store.values)  # not even on flash: it was never confirmed


def test_what_another_release_stored_is_kept_unread():
    store, settings = fresh()
    old, _ = schema.table()
    put(store, settings, 1, {"name": "a", "app.n": 7})
    lines = []
    settings = opened(store, old, lines)
    assert "app.n" not in settings.base and settings["name"] == "a"
    assert change.unread(store, old) == {"app.n": "setting-unknown"}
    assert any(["setting-unknown app.n" in line for line in lines])
    put(store, settings, 2, {"name": "b"}, "e", 0, old)
    assert put(store, settings, 3, {"name": "c", "app.n": 8}, "e", 0, old)["keys"]
    back = opened(store)
    assert back["app.n"] == 7 and back["name"] == "c"


def test_a_value_that_is_no_longer_valid_falls_back_to_the_base():
    store, settings = fresh()
    put(store, settings, 1, {"app.n": 7})
    narrow, _ = schema.table({"n": {"type": "int", "default": 1, "greatest": 5}})
    settings = opened(store, narrow)
    assert settings["app.n"] == 1
    assert change.unread(store, narrow) == {"app.n": "setting-range"}
    put(store, settings, 2, {"name": "x"}, "e", 0, narrow)
    assert opened(store)["app.n"] == 7
    put(store, settings, 3, {"app.n": 4}, "e", 0, narrow)
    assert opened(store)["app.n"] == 4


def test_what_is_unread_makes_room():
    store, settings = fresh()
    put(store, settings, 1, {"app.n": 7})
    old, _ = schema.table()
    settings = opened(store, old)
    config = {"location": "l" * 64, "groups": ["g" * 60] * 5, "name": "n" * 25}
    assert 430 < len(stored.text(config)) <= 440
    put(store, settings, 2, config, "e", 0, old)
    assert opened(store)["app.n"] == 1 and opened(store)["name"] == "n" * 25


def test_factory_values_that_make_no_sense_are_logged_by_name_alone():
    lines = []
    factory = {"heartbeat_s": 0, "x": CANARY, "window": CANARY, "name": "f"}
    settings = change.load(FakeNvs(), quiet_log(lines), TABLE, factory)
    assert settings["heartbeat_s"] == 60 and settings["name"] == "f"
    assert len([line for line in lines if "factory-conf" in line]) == 3
    assert CANARY not in str(lines)


def test_a_flashed_network_that_no_document_could_set_is_still_the_way_home():
    factory = {"wifi": [["home", "short"]] * 5}
    assert change.load(FakeNvs(), quiet_log([]), TABLE, factory)["wifi"] == factory["wifi"]


def test_foreign_bytes_on_flash_are_no_settings():
    for payload in (b"[]", b"{", b'{"v":1}', b"", b'{"v":1,"e":"","until":1}'):
        store = FakeNvs()
        store.values["conf0"] = records.pack(1, payload)
        store.values["trial"] = records.pack(1, b"[1]")
        assert opened(store).seen == ("", -1)
        assert "trial" not in store.values
