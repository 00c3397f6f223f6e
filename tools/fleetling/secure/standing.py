# SPDX-License-Identifier: MIT
"""What is burnt into a chip, in words."""

from __future__ import annotations

from fleetling.flashing.efuse import Fuses

__all__ = ["standing"]


def standing(fuses: Fuses) -> dict[str, str]:
    """Each protection and how it stands."""
    old = fuses.chip == "esp32"
    counter = fuses.value("FLASH_CRYPT_CNT" if old else "SPI_BOOT_CRYPT_CNT").bit_count()
    bits = 7 if old else 3
    version = fuses.value("SECURE_VERSION").bit_count()
    made = {
        "chip": f"{fuses.chip}, revision {fuses.revision // 100}.{fuses.revision % 100}",
        "address": fuses.mac,
        "faults": ", ".join(fuses.faults) or "none",
    }
    for block in fuses.key_blocks:
        purpose = fuses.purpose(block)
        if purpose != "USER":
            hidden = "" if fuses.readable(block) else ", hidden"
            made[block] = f"{purpose}{hidden}"
        elif any(fuses.content(block)):
            made[block] = "something, for no purpose yet"
        else:
            made[block] = "free"
    state = "on" if counter % 2 else "off"
    made["flash encryption"] = f"{state} ({counter} of {bits} bits)"
    on = fuses.value("ABS_DONE_1" if old else "SECURE_BOOT_EN")
    if old and fuses.value("ABS_DONE_0"):
        made["secure boot"] = "v1"
    else:
        made["secure boot"] = "v2, on" if on else "off"
    if not old:
        revoked = [n for n in range(3) if fuses.value(f"SECURE_BOOT_KEY_REVOKE{n}")]
        made["revoked keys"] = ", ".join(str(n + 1) for n in revoked) or "none"
    made["security counter"] = f"{version} of {32 if old else 16}"
    jtag = fuses.value("JTAG_DISABLE") if old else fuses.value("DIS_PAD_JTAG")
    usb = True if old else fuses.value("DIS_USB_JTAG")
    made["JTAG"] = "off" if jtag and usb else "on"
    if fuses.value("UART_DOWNLOAD_DIS" if old else "DIS_DOWNLOAD_MODE"):
        made["download mode"] = "off"
    elif not old and fuses.value("ENABLE_SECURITY_DOWNLOAD"):
        made["download mode"] = "secure"
    else:
        made["download mode"] = "on"
    made["more keys can be hidden"] = "yes" if fuses.writable("RD_DIS") else "no"
    return made
