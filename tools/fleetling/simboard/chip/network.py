# SPDX-License-Identifier: MIT
"""The `network` module of MicroPython on the ESP32.

A trap of the port that is kept: while connect() may try again, which by default is for ever,
status() says STAT_CONNECTING, whatever went wrong; the reason shows with `config(reconnects=n)`.
"""

from micropython import const

from .air import AUTH_FAIL, BEACON_TIMEOUT, NO_AP_FOUND
from .module import Module

STA_IF = const(0)
AP_IF = const(1)
_IDLE = const(1000)
_CONNECTING = const(1001)
_GOT_IP = const(1010)
_WPA2_PSK = const(3)
_NONE = "0.0.0.0"  # noqa: S104 - no address, nothing is bound


def make(chip):
    def hostname(name=None):
        if name is not None:
            chip.hostname = name
        return chip.hostname

    def country(code=None):
        if code is not None:
            chip.country = code
        return chip.country

    module = Module("network")
    module.STA_IF = STA_IF
    module.AP_IF = AP_IF
    module.STAT_IDLE = _IDLE
    module.STAT_CONNECTING = _CONNECTING
    module.STAT_GOT_IP = _GOT_IP
    module.STAT_NO_AP_FOUND = NO_AP_FOUND
    module.STAT_WRONG_PASSWORD = AUTH_FAIL
    module.STAT_BEACON_TIMEOUT = BEACON_TIMEOUT
    module.STAT_ASSOC_FAIL = 203
    module.STAT_HANDSHAKE_TIMEOUT = 204
    module.AUTH_OPEN = 0
    module.AUTH_WPA2_PSK = _WPA2_PSK
    module.WLAN = _Interfaces(chip)
    module.hostname = hostname
    module.country = country
    return module


class _Interfaces:
    """Stands for the class WLAN: the same two objects come back at every call."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, chip):
        self._interfaces = (Wlan(chip, STA_IF), Wlan(chip, AP_IF))

    def __call__(self, interface=STA_IF):
        if interface not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        return self._interfaces[interface]


class Wlan:
    def __init__(self, chip, interface):
        self._chip = chip
        self._interface = interface
        self._settings = {"channel": 0, "txpower": 20.0, "pm": 1, "hidden": False}
        self._settings["ssid"] = "ESP_" + "".join(["%02X" % b for b in chip.unique_id[3:]])

    def active(self, on=None):
        radio = self._chip.radio
        if on is not None:
            radio.active[self._interface] = bool(on)
            if self._interface == STA_IF and not on:
                radio.disconnect()
        return radio.active[self._interface]

    def connect(self, ssid=None, key=None, bssid=None):
        self._require(STA_IF)
        radio = self._chip.radio
        if not radio.active[STA_IF]:
            raise OSError("Wifi Not Started")
        if ssid is not None:
            if radio.connecting():
                raise OSError("Wifi Internal State Error")
            radio.configure(ssid, key or "", bssid)
        elif radio.connecting():
            raise OSError("Wifi Internal Error")
        radio.connect()

    def disconnect(self):
        if not self._chip.radio.active[STA_IF]:
            raise OSError("Wifi Not Started")
        self._chip.radio.disconnect()

    def isconnected(self):
        return self._interface == STA_IF and self._chip.radio.connected()

    def status(self, what=None):
        radio = self._chip.radio
        if what == "rssi":
            self._require(STA_IF)
            if not radio.connected():
                raise OSError("Wifi Not Connected")
            return radio.point["rssi"]
        if what == "stations":
            self._require(AP_IF)
            return []
        if what is not None:
            raise ValueError("unknown status param")
        if self._interface == AP_IF:
            return None
        if radio.connected():
            return _GOT_IP
        if radio.requested and not radio.gave_up():
            return _CONNECTING
        return radio.reason or _IDLE

    def scan(self):
        if not self._chip.radio.active[STA_IF]:
            raise OSError("STA must be active")
        found = []
        for p in self._chip.air.points:
            if p["up"]:
                mode = _WPA2_PSK if p["password"] else 0
                row = (p["ssid"].encode(), p["bssid"], p["channel"], p["rssi"], mode, False)
                found.append(row)
        return sorted(found, key=lambda row: -row[3])

    def config(self, name=None, **changes):
        if name is not None and changes:
            raise TypeError("either pos or kw args are allowed")
        if name is None:
            for key in changes:
                self._configure(key, changes[key])
            return None
        radio = self._chip.radio
        if name == "mac":
            mac = self._chip.unique_id
            return mac[:5] + bytes(((mac[5] + self._interface) & 0xFF,))
        if name == "reconnects":
            self._require(STA_IF)
            return radio.limit - 1
        if name in ("hostname", "dhcp_hostname"):
            return self._chip.hostname
        if name in ("ssid", "essid"):
            if self._interface == AP_IF:
                return self._settings["ssid"]
            return radio.ssid
        if name == "channel" and radio.connected():
            return radio.point["channel"]
        if name not in self._settings:
            raise ValueError("unknown config param")
        return self._settings[name]

    def _configure(self, name, value):
        if name == "reconnects":
            self._require(STA_IF)
            # -1 is for ever; n is n more attempts after the first.
            self._chip.radio.limit = 0 if value < 0 else value + 1
        elif name in ("hostname", "dhcp_hostname"):
            self._chip.hostname = value
        elif name == "essid":
            self._settings["ssid"] = value
        elif name in self._settings or name in ("password", "key", "security", "max_clients"):
            self._settings[name] = value
        else:
            raise ValueError("unknown config param")

    def ifconfig(self, config=None):
        """Reads (address, mask, gateway, name server); a fixed address is taken and ignored."""
        if config is not None:
            return None
        if self._interface == AP_IF:
            return ("192.168.4.1", "255.255.255.0", "192.168.4.1", _NONE)
        if not self._chip.radio.connected():
            return (_NONE,) * 4
        host = 2 + self._chip.seed % 250
        return ("192.168.1.%d" % host, "255.255.255.0", "192.168.1.1", "192.168.1.1")

    def ipconfig(self, name=None, **changes):
        if name is None:
            return None
        address, mask, gateway, _ = self.ifconfig()
        if name == "addr4":
            return (address, mask)
        if name == "gw4":
            return gateway
        if name == "dhcp4":
            return self._interface == STA_IF
        raise ValueError("unknown config param")

    def _require(self, interface):
        if self._interface != interface:
            raise OSError("STA required" if interface == STA_IF else "AP required")
