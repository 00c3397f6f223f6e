# SPDX-License-Identifier: MIT
"""Makes a life that is for an update alone (`update.alone`): Wi-Fi, clock, trust, nothing else.

Settings are read without their schema, which is large: what is stored was checked before. Loaded
at the start of such a life, then released.
"""

from micropython import const

from agent.config import stored
from agent.config.settings import Settings
from agent.errors import Refused
from agent.link import clock
from agent.link.join import parse
from agent.link.wifi import Wifi
from agent.storage.nvsmap import open_nvs
from agent.update.alone import Alone

_DEADLINE_S = const(60)


class Trust:
    """Stands for the keyring, and for its `own` identity; it logs in nowhere."""

    def __init__(self, ca):
        self.own = self
        self.ca = ca


def build(runtime, spare):
    """Fills `runtime`; Refused where the board was never provisioned."""
    log, supervisor = runtime.log, runtime.supervisor
    factory = open_nvs(runtime.board, "fl_factory")
    ca = factory.get("ca")
    if not ca:
        raise Refused("identity-none")
    given = {
        "wifi": [list(network) for network in parse(factory.get("wifi") or b"[]")],
        "ntp": (factory.get("ntp") or b"").decode() or clock.SERVER,
    }
    settings = runtime.settings = Settings(log, given, ["wifi"])
    settings.values = stored.load(open_nvs(runtime.board, "fl_conf"))["c"]
    runtime.clock.use(settings["ntp"])
    runtime.keyring = Trust(ca)
    runtime.wifi = Wifi(runtime.board, log, settings)
    supervisor.good()  # these lives are counted: no reason for safe mode
    log.warning("update", "alone, for the memory that the rest takes: " + runtime.alone["id"])
    supervisor.task("update", Alone(runtime, spare).run, _DEADLINE_S)
