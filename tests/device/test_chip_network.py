# SPDX-License-Identifier: MIT
"""The `network` and `ntptime` modules, in a world of access points."""

from chip import stock
from support import raises


def board(**options):
    chip = stock.new_chip(**options)
    network = chip.modules()["network"]
    return chip, network, network.WLAN(network.STA_IF)


def connected_board():
    chip, network, wlan = board()
    chip.air.add("home", "secret", rssi=-61, channel=11)
    wlan.active(True)
    wlan.connect("home", "secret")
    chip.clock.advance(chip.air.connect_ms)
    assert wlan.isconnected()
    return chip, network, wlan


def test_the_constants():
    _chip, network, _wlan = board()
    assert (network.STA_IF, network.AP_IF) == (0, 1)
    assert (network.WLAN.IF_STA, network.WLAN.IF_AP) == (0, 1)
    assert (network.STAT_IDLE, network.STAT_CONNECTING, network.STAT_GOT_IP) == (1000, 1001, 1010)
    assert (network.STAT_BEACON_TIMEOUT, network.STAT_NO_AP_FOUND) == (200, 201)
    assert (network.STAT_WRONG_PASSWORD, network.STAT_ASSOC_FAIL) == (202, 203)
    assert network.STAT_HANDSHAKE_TIMEOUT == 204


def test_there_is_one_object_an_interface():
    _chip, network, wlan = board()
    assert network.WLAN(network.STA_IF) is wlan
    assert network.WLAN() is wlan
    assert network.WLAN(network.AP_IF) is not wlan
    raises(ValueError, network.WLAN, 2)


def test_connecting_takes_its_time():
    chip, network, wlan = board()
    chip.air.add("home", "secret")
    assert wlan.active() is False
    assert wlan.status() == network.STAT_IDLE
    assert raises(OSError, wlan.connect, "home", "secret").args == ("Wifi Not Started",)
    assert wlan.active(True) is True
    wlan.connect("home", "secret")
    assert (wlan.isconnected(), wlan.status()) == (False, network.STAT_CONNECTING)
    assert wlan.ifconfig()[0] == "0.0.0.0"
    chip.clock.advance(chip.air.connect_ms - 1)
    assert not wlan.isconnected()
    chip.clock.advance(1)
    assert (wlan.isconnected(), wlan.status()) == (True, network.STAT_GOT_IP)
    assert wlan.ifconfig()[0].startswith("192.168.1.")
    assert wlan.ipconfig("addr4") == wlan.ifconfig()[:2]


def test_a_second_connect_while_connecting_is_refused():
    _chip, _network, wlan = board()
    wlan.active(True)
    wlan.connect("home", "secret")
    error = raises(OSError, wlan.connect, "home", "secret")
    assert error.args == ("Wifi Internal State Error",)
    assert raises(OSError, wlan.connect).args == ("Wifi Internal Error",)
    wlan.disconnect()
    wlan.connect("home", "secret")


def test_what_goes_wrong_hides_behind_connecting():
    for password, up in (("wrong", True), ("secret", False)):
        chip, network, wlan = board()
        chip.air.add("home", "secret", up=up)
        wlan.active(True)
        wlan.connect("home", password)
        for _ in range(10):
            chip.clock.advance(chip.air.connect_ms)
            assert (wlan.isconnected(), wlan.status()) == (False, network.STAT_CONNECTING)


def test_with_a_limit_the_reason_shows():
    reasons = (("wrong", "home", 202), ("secret", "elsewhere", 201))
    for password, ssid, reason in reasons:
        chip, network, wlan = board()
        chip.air.add("home", "secret")
        wlan.active(True)
        wlan.config(reconnects=1)
        assert wlan.config("reconnects") == 1
        wlan.connect(ssid, password)
        chip.clock.advance(2 * chip.air.connect_ms - 1)
        assert wlan.status() == network.STAT_CONNECTING
        chip.clock.advance(1)
        assert wlan.status() == reason
        chip.clock.advance(60000)
        assert wlan.status() == reason


def test_it_finds_the_network_when_it_appears():
    chip, _network, wlan = board()
    point = chip.air.add("home", "secret", up=False)
    wlan.active(True)
    wlan.connect("home", "secret")
    chip.clock.advance(3600000)
    assert not wlan.isconnected()
    point["up"] = True
    chip.clock.advance(2 * chip.air.connect_ms)
    assert wlan.isconnected()


def test_a_drop_out_and_the_return():
    chip, network, wlan = connected_board()
    chip.air.points[0]["up"] = False
    assert (wlan.isconnected(), wlan.status()) == (False, network.STAT_CONNECTING)
    chip.clock.advance(30000)
    assert not wlan.isconnected()
    chip.air.points[0]["up"] = True
    chip.clock.advance(2 * chip.air.connect_ms)
    assert wlan.isconnected()


def test_a_kick_breaks_the_link_even_when_nobody_looks():
    chip, _network, wlan = connected_board()
    chip.air.kick("home")
    assert not wlan.isconnected()
    chip.clock.advance(chip.air.connect_ms)
    assert wlan.isconnected()


def test_the_driver_does_not_come_back_by_itself_after_disconnect():
    chip, network, wlan = connected_board()
    wlan.disconnect()
    chip.clock.advance(60000)
    assert (wlan.isconnected(), wlan.status()) == (False, network.STAT_IDLE)


def test_switching_off_ends_the_link():
    _chip, _network, wlan = connected_board()
    assert wlan.active(False) is False
    assert not wlan.isconnected()


def test_the_link_survives_a_soft_reset_only():
    chip, _network, wlan = connected_board()
    chip.power_on(5)
    assert chip.modules()["network"].WLAN(0).isconnected()
    chip.power_on(2)
    wlan = chip.modules()["network"].WLAN(0)
    assert (wlan.active(), wlan.isconnected()) == (False, False)


def test_the_strongest_point_is_taken_and_scanned_first():
    chip, _network, wlan = connected_board()
    chip.air.add("home", "secret", rssi=-40)
    chip.air.add("open", rssi=-90)
    chip.air.add("off", up=False)
    rows = wlan.scan()
    assert [(row[0], row[3]) for row in rows] == [(b"home", -40), (b"home", -61), (b"open", -90)]
    assert [row[4] for row in rows] == [3, 3, 0]
    assert all([len(row) == 6 and len(row[1]) == 6 for row in rows])
    assert wlan.status("rssi") == -61
    raises(ValueError, wlan.config, "rssi")
    wlan.disconnect()
    wlan.connect("home", "secret")
    chip.clock.advance(chip.air.connect_ms)
    assert wlan.status("rssi") == -40


def test_scanning_needs_the_station():
    _chip, _network, wlan = board()
    assert raises(OSError, wlan.scan).args == ("STA must be active",)
    assert raises(OSError, wlan.status, "rssi").args == ("Wifi Not Connected",)


def test_settings():
    chip, network, wlan = connected_board()
    mac = wlan.config("mac")
    assert (len(mac), mac) == (6, chip.unique_id)
    assert network.WLAN(1).config("mac") != mac
    assert (wlan.config("ssid"), wlan.config("channel")) == ("home", 11)
    assert network.hostname() == "mpy-esp32"
    network.hostname("fleetling-1")
    assert wlan.config("hostname") == "fleetling-1"
    assert network.country() == "XX"
    raises(ValueError, wlan.config, "nonsense")


def test_an_access_point_of_its_own():
    _chip, network, _wlan = board()
    ap = network.WLAN(network.AP_IF)
    ap.active(True)
    ap.config(ssid="setup", password="12345678", security=3)
    assert ap.config("ssid") == "setup"
    assert ap.ifconfig()[0] == "192.168.4.1"
    assert (ap.isconnected(), ap.status("stations")) == (False, [])
    assert raises(OSError, ap.connect, "x").args == ("STA required",)


def test_time_needs_a_link():
    chip, _network, _wlan = board()
    ntptime = chip.modules()["ntptime"]
    assert raises(OSError, ntptime.time).args == (-202,)
    assert raises(OSError, ntptime.settime).args == (-202,)
    assert chip.now_2000() == 0


def test_time_from_the_world():
    chip, _network, _wlan = connected_board()
    ntptime = chip.modules()["ntptime"]
    ntptime.host = "time.example"
    ntptime.settime()
    assert chip.now_2000() + 946684800 == chip.true_unix()
    assert chip.modules()["machine"].RTC().datetime()[0] == 2025


def test_a_time_server_that_does_not_answer():
    chip, _network, _wlan = connected_board()
    ntptime = chip.modules()["ntptime"]
    chip.air.ntp_up = False
    ntptime.timeout = 2
    before = chip.ticks_ms()
    assert raises(OSError, ntptime.time).args == (116,)
    assert chip.ticks_ms() - before == 2000


def test_boards_share_the_air():
    chip, _network, wlan = connected_board()
    other = stock.new_chip(air=chip.air, seed=7)
    there = other.modules()["network"].WLAN(0)
    there.active(True)
    there.connect("home", "secret")
    other.clock.advance(chip.air.connect_ms)
    assert there.isconnected()
    assert there.ifconfig()[0] != wlan.ifconfig()[0]
