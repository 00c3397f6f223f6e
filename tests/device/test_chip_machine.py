# SPDX-License-Identifier: MIT
"""The `machine` module and the lives of a chip (HARDWARE: Watchdog, reset, RTC memory)."""

from chip import chip as chip_module
from chip import stock
from chip.chip import Reset
from chip.flash import CUT_BEFORE, PowerCut
from support import raises


def board(**options):
    chip = stock.new_chip(**options)
    return chip, chip.modules()["machine"]


def life_after(chip, cause):
    chip.power_on(cause)
    return chip.modules()["machine"]


def test_the_constants_of_the_reset_causes():
    _chip, machine = board()
    assert machine.PWRON_RESET == 1
    assert machine.HARD_RESET == 2
    assert machine.WDT_RESET == 3
    assert machine.DEEPSLEEP_RESET == 4
    assert machine.SOFT_RESET == 5
    assert machine.reset_cause() == 1


def test_each_end_of_a_life_shows_in_the_next():
    chip, machine = board()
    for call, cause in ((machine.reset, 2), (machine.soft_reset, 5), (machine.deepsleep, 4)):
        end = raises(Reset, call)
        assert isinstance(end, SystemExit)
        assert end.kind == cause
        assert life_after(chip, end.kind).reset_cause() == cause
    assert life_after(chip, 3).reset_cause() == 3


def test_the_watchdog_runs_until_it_is_fed():
    chip, machine = board()
    assert not chip.wdt_expired()
    wdt = machine.WDT(timeout=30000)
    chip.clock.advance(29999)
    assert not chip.wdt_expired()
    wdt.feed()
    chip.clock.advance(29999)
    assert not chip.wdt_expired()
    chip.clock.advance(1)
    assert chip.wdt_expired()


def test_the_watchdog_cannot_be_stopped():
    _chip, machine = board()
    wdt = machine.WDT(timeout=1000)
    assert [name for name in dir(wdt) if not name.startswith("_")] == ["feed"]
    raises(ValueError, machine.WDT, 0, 0)
    raises(ValueError, machine.WDT, 1)


def test_the_watchdog_survives_a_soft_reset_only():
    chip, machine = board()
    machine.WDT(timeout=1000)
    life_after(chip, 5)
    chip.clock.advance(1000)
    assert chip.wdt_expired()
    for cause in (1, 2, 3, 4):
        chip.wdt_start(1000)
        life_after(chip, cause)
        chip.clock.advance(1000)
        assert not chip.wdt_expired()


def test_rtc_memory_survives_everything_but_power_loss():
    chip, machine = board()
    assert machine.RTC().memory() == b""
    machine.RTC().memory(b"kept")
    for cause in (5, 2, 3, 4):
        assert life_after(chip, cause).RTC().memory() == b"kept"
    assert life_after(chip, 1).RTC().memory() == b""


def test_rtc_memory_is_2048_bytes():
    _chip, machine = board()
    machine.RTC().memory(bytes(2048))
    assert len(machine.RTC().memory()) == 2048
    assert raises(ValueError, machine.RTC().memory, bytes(2049)).args == ("buffer too long",)
    assert len(machine.RTC().memory()) == 2048


def test_the_clock_starts_in_2000_and_runs_on():
    chip, machine = board()
    assert machine.RTC().datetime() == (2000, 1, 1, 5, 0, 0, 0, 0)
    chip.clock.advance(90061500)
    assert machine.RTC().datetime() == (2000, 1, 2, 6, 1, 1, 1, 500000)
    assert chip.now_2000() == 90061


def test_the_clock_can_be_set_and_survives_resets():
    chip, machine = board()
    machine.RTC().datetime((2024, 2, 29, 0, 23, 59, 58, 250000))
    for cause in (5, 2, 3, 4):
        machine = life_after(chip, cause)
        assert machine.RTC().datetime() == (2024, 2, 29, 3, 23, 59, 58, 250000)
    chip.clock.advance(2000)
    assert machine.RTC().datetime()[:7] == (2024, 3, 1, 4, 0, 0, 0)
    assert life_after(chip, 1).RTC().datetime()[0] == 2000


def test_the_calendar_over_a_century():
    _chip, machine = board()
    rtc = machine.RTC()
    weekday = 5
    for year in range(2000, 2101):
        leap = year % 4 == 0 and year != 2100
        for month, days in enumerate((31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)):
            for day in (1, days):
                date = (year, month + 1, day)
                rtc.datetime(date + (0, 12, 34, 56, 0))
                expected = (weekday + day - 1) % 7
                assert rtc.datetime() == date + (expected, 12, 34, 56, 0), date
            weekday = (weekday + days) % 7


def test_a_process_can_carry_the_clock_over_a_reset():
    chip, machine = board()
    machine.RTC().memory(b"kept")
    chip.set_now_2000(800000000)
    saved = chip.save_rtc()
    chip.clock.advance(5000)
    other = chip_module.Chip(chip.flash, chip.ticks_ms, chip.true_unix)
    other.load_rtc(saved)
    other.power_on(2)
    assert other.now_2000() == 800000005
    assert other.modules()["machine"].RTC().memory() == b"kept"
    raises(ValueError, other.load_rtc, b"?" * 30)


def test_deep_sleep_says_when_it_ends():
    chip, machine = board()
    raises(Reset, machine.deepsleep, 60000)
    assert chip.wake_at_ms == chip.ticks_ms() + 60000
    machine = life_after(chip, 4)
    assert machine.wake_reason() == machine.TIMER_WAKE
    assert chip.wake_at_ms is None


def test_light_sleep_lets_time_pass():
    chip, machine = board()
    before = chip.ticks_ms()
    machine.lightsleep(250)
    assert chip.ticks_ms() - before == 250


def test_pins_read_what_the_test_presses():
    chip, machine = board()
    button = machine.Pin(0, machine.Pin.IN, machine.Pin.PULL_UP)
    assert button.value() == 1
    chip.pins[0] = 0
    assert button() == 0
    assert machine.Pin(4, machine.Pin.IN).value() == 0
    led = machine.Pin(2, machine.Pin.OUT, value=1)
    assert chip.pins[2] == 1
    led.off()
    assert chip.pins[2] == 0
    led.on()
    assert led.value() == 1
    raises(ValueError, machine.Pin, 40)
    raises(ValueError, machine.Pin, 34, machine.Pin.OUT)


def test_frequency_and_identity():
    chip, machine = board(seed=0x010203)
    assert machine.freq() == 160000000
    machine.freq(240000000)
    assert machine.freq() == 240000000
    raises(ValueError, machine.freq, 100)
    assert life_after(chip, 2).freq() == 160000000
    assert len(machine.unique_id()) == 6
    assert machine.unique_id() != stock.new_chip(seed=1).modules()["machine"].unique_id()


def test_an_adc_measures_what_is_at_its_pin():
    chip, machine = board()
    adc = machine.ADC(machine.Pin(34), atten=machine.ADC.ATTN_11DB)
    assert adc.read() == adc.read_u16() == adc.read_uv() == 0
    chip.volts[34] = 1.95
    assert adc.read() == 2047 and adc.read_u16() == 0x7FF7
    assert 1940000 < adc.read_uv() <= 1950000
    chip.volts[34] = 9
    assert adc.read() == 4095 and adc.read_u16() == 65535 and adc.read_uv() == 3900000
    adc.atten(machine.ADC.ATTN_0DB)
    chip.volts[34] = 0.55
    assert adc.read() == 2047
    raises(ValueError, machine.ADC, machine.Pin(5))
    raises(ValueError, machine.ADC, 34, 4)


def test_the_build_says_who_it_is():
    chip, _machine = board()
    said = chip.implementation()
    assert chip.uname() == (
        "esp32",
        "esp32",
        "1.25.0",
        "v1.25.0 on 2025-04-15",
        "Generic ESP32 module with OTA with ESP32",
    )
    assert said["_machine"] == chip.uname()[4] and said["_mpy"] == 11014
    assert said["version"] == (1, 25, 0, "") and said["_build"] == "ESP32_GENERIC-OTA"
    chip.micropython = "1.24.1"
    assert chip.uname()[2:4] == ("1.24.1", "v1.24.1 on 2024-11-29")
    assert chip.implementation()["_mpy"] == 11014 and "_build" not in chip.implementation()


def test_power_may_go_in_the_bootloader():
    chip, _machine = board()
    stock.put(chip.flash, 0x190000, stock.build_app())
    chip.modules()["esp32"].Partition("ota_1").set_boot()
    chip.flash.hook = lambda kind, addr, data, number: CUT_BEFORE
    raises(PowerCut, chip.power_on, 2)
    chip.flash.hook = None
    chip.power_on(1)
    assert chip.running == "ota_1"


def test_a_soft_reset_makes_new_modules_in_the_same_boot():
    chip, machine = board()
    nvs = chip.nvs
    assert chip.modules()["machine"] is machine
    operations = chip.flash.operations
    assert life_after(chip, 5) is not machine
    assert chip.nvs is nvs
    assert chip.flash.operations == operations
