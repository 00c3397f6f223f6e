# SPDX-License-Identifier: MIT
import os

from support import FakeNvs, quiet_log, tried

from agent.identity.vault import ENROLLED, KEYED, REQUESTED, Vault
from agent.storage import files, records

PATH = "/tmp/fleetling-test-identity"
KEY = bytes(range(32))
OTHER = bytes(range(32, 64))
CERTIFICATE = b"\x30" + bytes(400)


def fresh():
    try:
        os.remove(PATH)
    except OSError:
        pass  # the run before left none
    store = FakeNvs()
    return store, Vault(store, quiet_log([]), PATH)


def enrolled():
    store, vault = fresh()
    vault.set_next(KEYED, KEY)
    vault.set_next(REQUESTED, KEY)
    vault.set_next(ENROLLED, KEY, CERTIFICATE)
    return store, vault


def test_an_identity_on_its_way_is_kept_step_by_step():
    store, vault = fresh()
    assert vault.proven() is None and vault.next() is None
    vault.set_next(KEYED, KEY)
    assert Vault(store, quiet_log([]), PATH).next() == (KEYED, KEY, b"")
    vault.set_next(ENROLLED, KEY, CERTIFICATE)
    assert Vault(store, quiet_log([]), PATH).next() == (ENROLLED, KEY, CERTIFICATE)
    assert vault.proven() is None


def test_promoted_it_is_the_only_one():
    store, vault = enrolled()
    vault.promote()
    again = Vault(store, quiet_log([]), PATH)
    assert again.proven() == (KEY, CERTIFICATE) and again.next() is None


class Cut(Exception):
    pass


class Fragile(FakeNvs):
    """Dies at a write, before or after it."""

    def __init__(self, left, after):
        super().__init__()
        self.left = left
        self.after = after

    def _step(self, act):
        self.left -= 1
        if self.left < 0 and not self.after:
            raise Cut()
        act()
        if self.left < 0:
            raise Cut()

    def set(self, key, value):
        self._step(lambda: FakeNvs.set(self, key, value))

    def erase(self, key):
        self._step(lambda: FakeNvs.erase(self, key))


def test_a_cut_anywhere_in_the_promotion_ends_with_one_identity():
    cuts = 0
    for after in (False, True):
        for left in range(6):
            store, _ = enrolled()
            fragile = Fragile(left, after)
            fragile.values = store.values
            try:
                Vault(fragile, quiet_log([]), PATH).promote()
            except Cut:
                cuts += 1
            again = Vault(store, quiet_log([]), PATH)
            if again.proven() is None:
                assert again.next() == (ENROLLED, KEY, CERTIFICATE)
                again.promote()
            assert again.proven() == (KEY, CERTIFICATE) and again.next() is None
    assert cuts >= 6
    tried(cuts)


def test_a_renewal_leaves_the_old_identity_until_the_new_one_is_proven():
    _, vault = enrolled()
    vault.promote()
    vault.set_next(ENROLLED, OTHER, CERTIFICATE)
    assert vault.proven() == (KEY, CERTIFICATE)
    assert vault.next() == (ENROLLED, OTHER, CERTIFICATE)
    vault.promote()
    assert vault.proven() == (OTHER, CERTIFICATE) and vault.next() is None


def test_the_third_copy_brings_it_back_when_nvs_was_wiped():
    store, vault = enrolled()
    vault.promote()
    store.values.clear()
    assert Vault(store, quiet_log([]), PATH).proven() == (KEY, CERTIFICATE)
    os.remove(PATH)
    assert Vault(store, quiet_log([]), PATH).proven() == (KEY, CERTIFICATE)


def test_a_spoilt_third_copy_is_no_identity():
    store, vault = enrolled()
    vault.promote()
    store.values.clear()
    data = bytearray(files.read(PATH))
    data[40] ^= 1
    files.replace(PATH, bytes(data))
    assert Vault(store, quiet_log([]), PATH).proven() is None
    files.replace(PATH, records.pack(1, b"\x02foreign"))
    assert Vault(store, quiet_log([]), PATH).proven() is None


def test_a_file_system_that_fails_does_not_stop_the_promotion():
    store, _ = enrolled()
    lines = []
    vault = Vault(store, quiet_log(lines), "/no/such/folder/identity")
    vault.promote()
    assert vault.proven() == (KEY, CERTIFICATE) and any(["fs-write" in line for line in lines])
