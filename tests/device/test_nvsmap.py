# SPDX-License-Identifier: MIT
from support import FakeBoard, raises

from agent.errors import StorageError
from agent.storage.nvsmap import INT, MAP, open_nvs

BUDGET = 8192
# A board carries a claim or a ready identity, never both.
EITHER = (("claim_crt", "claim_key"), ("crt", "key"))


def cost(size):
    """Bytes of flash that a value of `size` bytes takes: 32-byte entries, for a blob with its data
    header and its index (ESP-IDF, NVS storage library)."""
    return 32 if size == INT else 32 * (2 + (size + 31) // 32)


def test_all_that_may_stand_in_nvs_stays_within_the_budget():
    total = 0
    for namespace in MAP:
        total += 32  # the namespace's own entry
        for key, size in MAP[namespace].items():
            assert len(key) <= 15 and len(namespace) <= 15  # NVS_KEY_NAME_MAX_SIZE - 1
            total += cost(size)
    spared = min([sum([cost(MAP["fl_factory"][key]) for key in keys]) for keys in EITHER])
    assert total - spared <= BUDGET, total - spared


def test_the_cost_is_that_of_the_format():
    assert cost(0) == 32
    assert cost(1) == 96  # data header, one entry of data, index
    assert cost(33) == 128


def test_what_the_map_does_not_know_or_allow_is_refused():
    nvs = open_nvs(FakeBoard(), "fl_state")
    assert raises(StorageError, nvs.get, "nope").code == "nvs-key"
    assert raises(StorageError, nvs.set, "intent0", bytes(129)).code == "nvs-size"
    nvs.set("intent0", bytes(128))
    assert nvs.get("intent0") == bytes(128)
    assert nvs.get_int("boots") == 0
    nvs.set_int("boots", 3)
    assert nvs.get_int("boots") == 3
    nvs.erase("boots")
    assert nvs.get_int("boots", 9) == 9
