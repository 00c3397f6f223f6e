# SPDX-License-Identifier: MIT
"""What the agent does with its own settings when they change. Loaded for that.

A function that is kept keeps its module, and with it all that the module has imported: so what is
registered is the runtime's own, and calls the ones here by their names.
"""

import os

from micropython import const

from agent import chip
from agent.errors import AgentError, LinkError

_BUTTON = ("button_pin", "button_hold_s", "button_level", "led_pin")
_LEVELS = ("", "config", "app", "identity")
_LED = const(12)
_LEVEL = const(18)
_HOLD = const(6)


def begin(runtime):
    """Puts the settings into force, and has each change of them called here."""
    settings = runtime.settings
    for names, call in (
        (("wifi",), "wifi"),
        (("broker",), "broker"),
        (("log_level",), "log_level"),
        (("ntp",), "ntp"),
        (_BUTTON, "button"),
    ):
        settings.on_change(names, runtime.follower(call))
    button(runtime)
    runtime.keyring.move(settings["broker"])
    log_level(runtime)
    ntp(runtime)


def wifi(runtime):
    runtime.wifi.leave()
    _reconnect(runtime)


def broker(runtime):
    runtime.keyring.move(runtime.settings["broker"])
    _reconnect(runtime)


def log_level(runtime):
    runtime.log.set_level(runtime.settings["log_level"])


def ntp(runtime):
    runtime.clock.use(runtime.settings["ntp"])


def button(runtime):
    """Packs what boot.py, which reads no settings, has to know of the button."""
    settings = runtime.settings
    packed = 0
    taken = chip.FLASH_PINS.get(chip.family(os.uname()[4]), ())
    if settings["button_pin"] in taken or settings["led_pin"] in taken:
        runtime.log.error("reset", "button or led_pin: flash is connected there")
    elif settings["button_pin"] >= 0:
        packed = settings["button_pin"] + 1 | settings["button_hold_s"] << _HOLD
        packed |= settings["led_pin"] + 1 << _LED
        packed |= _LEVELS.index(settings["button_level"]) << _LEVEL
    try:
        if runtime.state.get_int("button") != packed:
            runtime.state.set_int("button", packed)
    except AgentError as e:
        runtime.log.error("reset", e.code)


def _reconnect(runtime):
    runtime.session.end(LinkError("settings-changed"))
