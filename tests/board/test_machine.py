# SPDX-License-Identifier: MIT
"""What docs/hardware.md says of resets, watchdog, RTC memory, TLS, Wi-Fi, asked of the board."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asked import Asked

from fleetling.pki import make_authority

KEPT = "import machine, binascii\nrtc = machine.RTC()\n"


@pytest.fixture
def rtc(asked: Asked) -> Iterator[None]:
    with asked.restoring(
        KEPT + "result = binascii.hexlify(rtc.memory()).decode()",
        KEPT + "rtc.memory(binascii.unhexlify(saved))",
    ):
        yield


def test_the_causes_have_their_numbers(asked: Asked) -> None:
    names = ("PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")
    assert asked.ask(f"import machine\nresult = [getattr(machine, n) for n in {names!r}]") == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.usefixtures("rtc")
def test_rtc_memory_takes_2048_bytes_and_outlives_resets(asked: Asked) -> None:
    assert asked.fails(KEPT + "rtc.memory(bytes(2049))") == ["ValueError", ["buffer too long"]]
    asked.run(KEPT + "rtc.memory(b'kept' * 4)")
    asked.soft_reset()
    assert asked.ask(KEPT + "result = machine.reset_cause()") == 5
    asked.after("import machine\nmachine.reset()")
    assert asked.ask(KEPT + "result = rtc.memory()[:4].decode()") == "kept"


def test_the_watchdog_bites_and_says_so(asked: Asked) -> None:
    """What the cause is called is read by a boot.py, before the prompt's own soft reset."""
    boot = (
        "import machine, esp32\n"
        "nvs = esp32.NVS('fl_test')\n"
        "if machine.reset_cause() != 5:\n"
        "    nvs.set_i32('cause', machine.reset_cause())\n"
        "    nvs.commit()\n"
    )
    asked.run(
        "import os\nos.rename('/boot.py', '/fl_test')\n"
        f"with open('/boot.py', 'w') as file:\n    file.write({boot!r})"
    )
    try:
        asked.after("import machine, time\nmachine.WDT(timeout=1000)\ntime.sleep(30)", 3)
        read = "import esp32\nnvs = esp32.NVS('fl_test')\nresult = nvs.get_i32('cause')"
        assert asked.ask(read) == 3
    finally:
        asked.run("import os\nos.rename('/fl_test', '/boot.py')")
        asked.run("import esp32\nn = esp32.NVS('fl_test')\nn.erase_key('cause')\nn.commit()")
    asked.after("import machine\nmachine.reset()")


def test_tls_takes_keys_and_certificates_as_bytes(asked: Asked) -> None:
    authority = make_authority("Test CA")
    identity = authority.client("fl-test", 30)
    asked.run(
        f"""
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata={authority.identity.certificate_der!r})
        context.load_cert_chain({identity.certificate_der!r}, {identity.key_der!r})
        """
    )


def test_its_radio_has_what_the_link_asks_for(asked: Asked) -> None:
    found = asked.ask(
        """
        import network
        wlan = network.WLAN(network.STA_IF)
        was = wlan.active()
        wlan.active(True)
        result = [len(wlan.config("mac")), wlan.isconnected(), type(wlan.status()).__name__,
                  all([len(found) == 6 for found in wlan.scan()])]
        wlan.active(was)
        """
    )
    assert found == [6, False, "int", True]
