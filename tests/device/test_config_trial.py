# SPDX-License-Identifier: MIT
import json

from support import FakeNvs, quiet_log

from agent.config import change, schema, stored, trial

OLD = {"name": "old", "wifi": [["home", "password0"]]}
NEW = {"name": "new", "wifi": [["other", "password1"]]}
SAFE = {"name": "newest", "wifi": [["home", "password0"]]}
FACTORY = {"wifi": [["home", "password0"]], "broker": "hub:8883"}
TABLE = schema.AGENT


class Cut(Exception):
    pass


class Fragile(FakeNvs):
    """Dies at a write, before or after it; `left` None is for ever."""

    left = None
    after = False

    def _step(self, act):
        if self.left is not None:
            self.left -= 1
            if self.left < 0 and not self.after:
                raise Cut()
        act()
        if self.left is not None and self.left < 0:
            raise Cut()

    def set(self, key, value):
        self._step(lambda: FakeNvs.set(self, key, value))

    def erase(self, key):
        self._step(lambda: FakeNvs.erase(self, key))


def boot(store):
    return change.load(store, quiet_log([]), TABLE, FACTORY)


def put(store, settings, version, config, uptime_s=0, epoch="e"):
    payload = json.dumps({"version": version, "epoch": epoch, "config": config}).encode()
    return change.apply(store, settings, TABLE, payload, uptime_s)


def begun():
    """A board whose new network is on trial since uptime 100."""
    store = Fragile()
    settings = boot(store)
    put(store, settings, 1, OLD)
    assert put(store, settings, 2, NEW, 100)["trial"]
    return store, settings


def holds(settings, config):
    return settings["name"] == config["name"] and settings["wifi"] == config["wifi"]


def test_a_risky_change_is_in_force_but_not_on_flash():
    store, settings = begun()
    assert holds(settings, NEW)
    assert stored.load(store)["c"] == {"name": "old"}
    assert b"password1" not in b"".join(store.values.values())


def test_confirmed_it_stays():
    store, settings = begun()
    trial.confirm(store, settings)
    assert settings.trial is None and not settings.reverted and holds(settings, NEW)
    settings = boot(store)
    assert holds(settings, NEW) and not settings.reverted and settings.seen == ("e", 2)
    assert "trial" not in store.values


def test_the_deadline_is_that_of_the_settings_on_trial():
    _, settings = begun()
    assert not settings.overdue(699) and settings.overdue(700)
    store = FakeNvs()
    settings = boot(store)
    assert not settings.overdue(10**9)
    config = dict(NEW)
    config["trial_s"] = 60
    put(store, settings, 1, config, 40)
    assert not settings.overdue(99) and settings.overdue(100)


def test_undone_the_old_settings_are_back_and_the_document_is_not_tried_again():
    store, settings = begun()
    heard = []
    settings.on_change(("wifi",), lambda: heard.append(settings["wifi"]))
    trial.undo(store, settings)
    assert heard == [OLD["wifi"]]
    for _ in range(2):
        assert holds(settings, OLD) and settings.reverted and settings.trial is None
        writes = store.writes
        report = put(store, settings, 2, NEW)
        assert report["reverted"] and not report["trial"] and report["version"] == 2
        assert holds(settings, OLD) and store.writes == writes
        settings = boot(store)
    report = put(store, settings, 3, SAFE)
    assert not report["reverted"] and holds(settings, SAFE)
    assert not boot(store).reverted


def test_any_reset_ends_the_trial():
    store, _ = begun()
    for _ in range(3):
        settings = boot(store)
        assert holds(settings, OLD) and settings.reverted and settings.seen == ("e", 2)
        assert "trial" not in store.values


def test_a_newer_document_replaces_the_one_on_trial():
    store, settings = begun()
    assert put(store, settings, 3, SAFE)["trial"] is False
    assert holds(settings, SAFE) and "trial" not in store.values
    assert holds(boot(store), SAFE) and not boot(store).reverted

    store, settings = begun()
    other = {"name": "third", "wifi": [["third", "password3"]]}
    assert put(store, settings, 3, other, 200)["trial"]
    assert holds(settings, other) and settings.trial.until == 800
    trial.undo(store, settings)
    assert holds(settings, OLD) and settings.seen == ("e", 3)


def test_a_risky_key_that_is_refused_makes_no_trial():
    store, settings = begun()
    trial.undo(store, settings)
    report = put(store, settings, 3, {"name": "x", "broker": "nonsense", "wifi": OLD["wifi"]})
    assert report["keys"] == {"broker": "setting-type"} and not report["trial"]


def test_the_same_document_under_another_epoch_is_tried_again():
    store, settings = begun()
    trial.undo(store, settings)
    assert put(store, settings, 2, NEW, 0, "f")["trial"]


def cuts_of(make, act, allowed):
    """Cuts `act` before and after each write; after a boot the state is one of `allowed`."""
    cuts = 0
    for after in (False, True):
        left = 0
        while True:
            store, settings = make()
            store.left, store.after = left, after
            try:
                act(store, settings)
                break
            except Cut:
                cuts += 1
            # ... and a second cut inside of what the boot does about it.
            for again in range(4):
                twice = Fragile()
                twice.values = dict(store.values)
                twice.left, twice.after = again, after
                try:
                    boot(twice)
                except Cut:
                    cuts += 1
                twice.left = None
                check(twice, allowed)
            store.left = None
            check(store, allowed)
            left += 1
    return cuts


def check(store, allowed):
    settings = boot(store)
    found = (settings["name"], settings["wifi"][0][0], settings.seen[1])
    assert found in allowed, found
    assert settings.reverted == (found == ("old", "home", 2))
    assert "trial" not in store.values and settings.trial is None
    # The broker still holds the newest document; whatever the cut left, it may be applied.
    report = put(store, settings, 9, SAFE)
    if report["trial"]:
        trial.confirm(store, settings)
    assert report["version"] == 9 and holds(boot(store), SAFE)


def quiet():
    store = Fragile()
    settings = boot(store)
    put(store, settings, 1, OLD)
    return store, settings


def test_a_cut_anywhere_leaves_the_old_settings_or_the_new_ones():
    def apply(store, settings):
        put(store, settings, 2, SAFE)

    def begin(store, settings):
        put(store, settings, 2, NEW)

    def safer(store, settings):
        put(store, settings, 3, SAFE)

    old, tried = ("old", "home", 1), ("old", "home", 2)
    assert cuts_of(quiet, apply, (old, ("newest", "home", 2))) == 2
    assert cuts_of(quiet, begin, (old, tried)) >= 2
    assert cuts_of(begun, trial.confirm, (tried, ("new", "other", 2))) >= 4
    assert cuts_of(begun, trial.undo, (tried,)) >= 4
    assert cuts_of(begun, safer, (old, tried, ("newest", "home", 3))) >= 4


def test_a_mark_that_outlived_its_trial_undoes_nothing_newer():
    store, settings = begun()
    trial.confirm(store, settings)
    store.values["trial"] = stored.packed({"e": "e", "v": 2, "until": 700})
    put(store, settings, 3, {"name": "later", "wifi": NEW["wifi"]})
    settings = boot(store)
    assert settings["name"] == "later" and settings.seen == ("e", 3) and not settings.reverted
