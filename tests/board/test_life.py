# SPDX-License-Identifier: MIT
"""A board in a fleet of the tests' own: provisioned at its prompt, set, updated, reverted.

On a real board with --board-wifi and --board-host. What it was is put back.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from asked import Asked

from fleetling import device
from fleetling.demo.application import APPLICATION
from fleetling.demo.fleet import HOST, WIFI, TemporaryFleet
from fleetling.fleet.operator import Operator
from fleetling.image.nvs import Provision
from fleetling.release.keys import make_signer
from fleetling.release.repository import Repository
from fleetling.release.serve import make_server

pytestmark = pytest.mark.slow

NAME = "bench-board"
ROLES = ("root", "targets", "snapshot", "timestamp")
SETTINGS = {"heartbeat_s": 2, "trial_s": 15, "reconnect_s": 2}
PATIENCE_S = 120
ILL = {**APPLICATION, "app.py": APPLICATION["app.py"] + b"\n\ndef healthy():\n    return False\n"}

NVS = "from esp32 import Partition\nnvs = Partition.find(Partition.TYPE_DATA, label='nvs')[0]\n"
FILES = """
import os
def listed(folder):
    try:
        return [folder + "/" + name for name in os.listdir(folder)]
    except OSError:
        return []
"""


class Life:
    """The board, the fleet that it is in, and where its updates come from."""

    def __init__(self, fleet: TemporaryFleet, operator: Operator, apps: dict[str, str]) -> None:
        self.fleet = fleet
        self.operator = operator
        self.apps = apps
        self._orders = self._version = 0

    @property
    def device(self) -> Any:
        return self.operator.state.devices[NAME]

    def wait(self, what: str, holds: Any) -> None:
        def known(state: Any) -> bool:
            return NAME in state.devices and bool(holds(state.devices[NAME]))

        assert self.operator.wait(known, PATIENCE_S), (what, self.operator.state.devices.get(NAME))

    def desire(self, **config: Any) -> dict[str, Any]:
        self._version += 1
        document = {"version": self._version, "epoch": "bench", "config": config}
        self._publish("desired", document)
        self.wait("settings", lambda d: d.reported.get("version") == self._version)
        reported: dict[str, Any] = self.device.reported
        return reported

    def update(self, target: str, state: str) -> dict[str, Any]:
        self._orders += 1
        order = f"bench-{self._orders}"
        self._publish("update", {"id": order, "targets": [target]})
        self.wait(
            state,
            lambda d: d.update.get("id") == order and d.update.get("state") == state,
        )
        report: dict[str, Any] = self.device.update
        return report

    def _publish(self, what: str, document: dict[str, Any]) -> None:
        topic = f"fleetling/v1/{NAME}/down/{what}"
        self.operator.publish(topic, json.dumps(document).encode(), retain=True)


def published(folder: Path) -> tuple[dict[str, str], bytes]:
    """(path by name of two applications, the board's trust in their repository)."""
    repository = Repository.create(folder, {role: [make_signer()] for role in ROLES})
    apps = {
        name: repository.add_app("bench", device.slot_files(version, files))
        for name, version, files in (("good", "90.1", APPLICATION), ("ill", "90.2", ILL))
    }
    repository.publish()
    root = (folder / "metadata/1.root.json").read_bytes()
    return apps, struct.pack("<I", 1) + hashlib.sha256(root).digest()


def backed_up(asked: Asked) -> tuple[list[str], dict[str, str]]:
    """NVS by its sectors, and the agent's files: what `put_back` takes."""
    count = asked.ask(NVS + "result = nvs.ioctl(4, 0)")
    read = "import binascii\nbuffer = bytearray(4096)\n"
    nvs = [
        asked.ask(
            NVS + read + f"nvs.readblocks({n}, buffer)\n"
            "result = binascii.b2a_base64(buffer).decode().strip()"
        )
        for n in range(count)
    ]
    files = asked.ask(
        FILES + "import binascii\nresult = {}\nfor path in listed('/fl'):\n"
        "    if not os.stat(path)[0] & 0x4000:\n"
        "        with open(path, 'rb') as file:\n"
        "            result[path] = binascii.b2a_base64(file.read()).decode().strip()\n"
    )
    return nvs, files


def who(asked: Asked) -> str:
    """The board's id, "" for none."""
    found: str = asked.ask(
        "import esp32\nbuffer = bytearray(32)\nresult = ''\n"
        "try:\n"
        "    result = buffer[:esp32.NVS('fl_factory').get_blob('id', buffer)].decode()\n"
        "except OSError:\n    pass  # none\n"
    )
    return found


def put_back(asked: Asked, nvs: list[str], files: dict[str, str]) -> None:
    asked.run(
        FILES + f"kept = {sorted(files)!r}\n"
        "for path in listed('/fl') + ['/slots/a.pack', '/slots/b.pack', '/slots/a.new',"
        " '/slots/b.new']:\n"
        "    try:\n"
        "        if path not in kept:\n            os.remove(path)\n"
        "    except OSError:\n        pass  # a folder, or not there\n"
    )
    for path, data in files.items():
        asked.run(
            f"import binascii\nwith open({path!r}, 'wb') as file:\n"
            f"    file.write(binascii.a2b_base64({data!r}))"
        )
    # Below the firmware's own NVS, so nothing of it may come after: a reset does.
    for n, data in enumerate(nvs):
        asked.run(NVS + f"import binascii\nnvs.writeblocks({n}, binascii.a2b_base64({data!r}))")
    asked.after("import machine\nmachine.reset()")


def provision(asked: Asked, values: dict[str, bytes]) -> None:
    """Makes the board a new one of this fleet; starts it without the prompt."""
    asked.run(
        "import esp32\n"
        "for space, keys in (('fl_factory', ('claim_crt', 'claim_key', 'crt', 'key', 'enrol')),"
        " ('fl_id', ('ident0', 'ident1', 'next0', 'next1')),"
        " ('fl_conf', ('conf0', 'conf1', 'trial'))):\n"
        "    nvs = esp32.NVS(space)\n"
        "    for key in keys:\n"
        "        try:\n            nvs.erase_key(key)\n"
        "        except OSError:\n            pass  # was not there\n"
        "    nvs.commit()\n" + FILES + "for path in listed('/fl'):\n"
        "    try:\n        os.remove(path)\n"
        "    except OSError:\n        pass  # a folder\n"
    )
    for key, data in values.items():
        text = base64.b64encode(data).decode()
        asked.run(
            "import binascii, esp32\nnvs = esp32.NVS('fl_factory')\n"
            f"nvs.set_blob({key!r}, binascii.a2b_base64({text!r}))\nnvs.commit()"
        )


@pytest.fixture(scope="module")
def life(
    asked: Asked,
    real: bool,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Life]:
    ssid = request.config.getoption("--board-wifi") or WIFI.ssid
    host = request.config.getoption("--board-host") or HOST
    if real and (host == HOST or ssid == WIFI.ssid):
        pytest.skip("needs --board-wifi SSID and --board-host IP")
    if asked.ask(FILES + "result = [p for p in listed('/slots') if 'factory' not in p]"):
        pytest.skip("this board was updated before; what it can go back to would be lost")
    password = os.environ.get("FLEETLING_WIFI_PASSWORD", "") if real else WIFI.password
    folder = tmp_path_factory.mktemp("life")
    fleet = TemporaryFleet(folder, host=host)
    apps, root = published(folder / "repository")
    operator = fleet.operator()
    with ExitStack() as entered:
        entered.enter_context(fleet.broker)
        entered.enter_context(fleet.hub())
        entered.enter_context(operator)
        bound = HOST if host == HOST else "0.0.0.0"
        server = make_server(folder / "repository", bound, 0, quiet=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        entered.callback(serving.join)
        entered.callback(server.server_close)
        entered.callback(server.shutdown)
        made: Provision = fleet.unproven(
            NAME,
            wifi=[(ssid, password)],
            settings=SETTINGS,
            repository=f"http://{host}:{server.server_address[1]}/",
            root=root,
        )
        was = who(asked)
        before = backed_up(asked)
        try:
            provision(asked, made.values())
            asked.leave("import machine\nmachine.reset()")
            yield Life(fleet, operator, apps)
        finally:
            asked.back()
            put_back(asked, *before)
            assert who(asked) == was
            assert asked.ask(FILES + "result = listed('/slots')") == ["/slots/factory.pack"]


def test_it_enrols_and_says_what_it_is(life: Life) -> None:
    life.wait("birth", lambda d: d.online and d.birth)
    assert life.device.birth["mode"] == "development"
    assert [len(row.certificates) for row in life.fleet.store().devices()] == [1]
    life.wait("heartbeats", lambda d: d.health)
    assert life.operator.command(NAME, "ping")["status"] == "ok"


def test_a_setting_is_applied_and_a_wrong_one_refused(life: Life) -> None:
    reported = life.desire(**SETTINGS, name="on the bench", log_level="X")
    assert reported["config"]["name"] == "on the bench"
    assert reported["keys"] == {"log_level": "setting-choice"}


def test_a_wifi_that_is_not_there_is_undone(life: Life) -> None:
    life.desire(**SETTINGS, wifi=[["no such network", "password"]])
    life.wait("reverted", lambda d: d.online and d.reported.get("reverted"))


def test_a_good_application_stays_and_an_ill_one_goes(life: Life) -> None:
    life.desire(**SETTINGS)
    life.update(life.apps["good"], "confirmed")
    life.wait("birth", lambda d: d.birth.get("app") == "90.1")
    report = life.update(life.apps["ill"], "reverted")
    assert report["code"] == "trial-healthy"
    life.wait("the way back", lambda d: d.online and d.birth.get("app") == "90.1")
