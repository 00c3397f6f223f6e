# SPDX-License-Identifier: MIT
"""The `esp32` module of MicroPython: partitions, NVS, heap figures, die temperature.

Exceptions carry the arguments of the official firmware: OSError(-code, "ESP_ERR_...").
"""

from micropython import const

from . import image, table
from .esp_err import error
from .module import Module
from .nvs_format import BLOB_V1, I32
from .otadata import NEW, VALID, Otadata

_BLOCK = const(4096)
_ENOENT = const(2)
_EINVAL = const(22)
_ANY = const(0xFF)
_BOOT = const(0)
_RUNNING = const(1)
_I32_LIMIT = const(0x80000000)


def make(chip):
    class BoundPartition(Partition):
        _chip = chip

        @staticmethod
        def find(type=table.TYPE_APP, subtype=_ANY, label=None, block_size=_BLOCK):
            entries = []
            for entry in chip.table:
                if entry[0] == type and subtype in (_ANY, entry[1]) and label in (None, entry[4]):
                    entries.append(BoundPartition(entry, block_size))
            return entries

        @staticmethod
        def mark_app_valid_cancel_rollback():
            otadata = _otadata(chip)
            active = otadata.active()
            if active is None or not table.ota_slots(chip.table):
                raise error("ESP_FAIL")
            if otadata.states[active] != VALID:
                otadata.set_state(active, VALID)

    class BoundNVS(NVS):
        _chip = chip

    module = Module("esp32")
    module.Partition = BoundPartition
    module.NVS = BoundNVS
    module.HEAP_DATA = 4
    module.HEAP_EXEC = 1
    module.idf_heap_info = lambda capabilities: list(chip.idf_heap)
    # The first ESP32 has a raw sensor in degrees Fahrenheit, the later ones a real one.
    if chip.family == "ESP32":
        module.raw_temperature = lambda: int(chip.temperature_c * 9 / 5 + 32)
    else:
        module.mcu_temperature = lambda: int(chip.temperature_c)
    return module


class Partition:
    """Partition(label), Partition(Partition.RUNNING) or Partition(Partition.BOOT)."""

    BOOT = _BOOT
    RUNNING = _RUNNING
    TYPE_APP = table.TYPE_APP
    TYPE_DATA = table.TYPE_DATA
    _chip = None

    def __init__(self, which, block_size=_BLOCK):
        chip = self._chip
        if which == _BOOT and not isinstance(which, str):
            which = _boot_entry(chip)
        elif which == _RUNNING and not isinstance(which, str):
            which = table.find(chip.table, chip.running)
        elif isinstance(which, int):
            raise ValueError()
        elif isinstance(which, str):
            which = table.find(chip.table, which)
        if which is None:
            raise OSError(_ENOENT)
        self._entry = which
        self._block_size = block_size

    def __repr__(self):
        return (
            "<Partition type={}, subtype={}, address={}, size={}, label={}, encrypted={}>".format(
                *(self._entry[:5] + (int(self._entry[5]),))
            )
        )

    def info(self):
        return self._entry

    def readblocks(self, number, buf, offset=0):
        start = number * self._block_size + offset
        if start < 0 or start + len(buf) > self._entry[3]:
            raise error("ESP_ERR_INVALID_ARG")
        self._chip.flash.readinto(self._entry[2] + start, buf)

    def writeblocks(self, number, buf, offset=None):
        """Without an offset: erases what `buf` covers, then programs. With one: only programs."""
        start = number * self._block_size + (offset or 0)
        if start < 0 or start + len(buf) > self._entry[3]:
            raise error("ESP_ERR_INVALID_SIZE")
        addr = self._entry[2] + start
        if offset is None:
            if self._block_size < _BLOCK:
                self._rewrite(addr, buf)
                return
            if len(buf) % _BLOCK:
                raise error("ESP_ERR_INVALID_SIZE")
            self._chip.flash.erase(addr, len(buf))
        self._chip.flash.program(addr, buf)

    def _rewrite(self, addr, buf):
        """Blocks smaller than a sector: each sector touched is read, changed and written."""
        flash = self._chip.flash
        done = 0
        while done < len(buf):
            within = (addr + done) % _BLOCK
            sector = addr + done - within
            part = bytes(buf[done : done + _BLOCK - within])
            cache = bytearray(flash.read(sector, _BLOCK))
            cache[within : within + len(part)] = part
            flash.erase(sector, _BLOCK)
            flash.program(sector, cache)
            done += len(part)

    def ioctl(self, command, argument):
        if command in (1, 2, 3):
            return 0
        if command == 4:
            return self._entry[3] // self._block_size
        if command == 5:
            return self._block_size
        if command == 6:
            if self._block_size != _BLOCK:
                return -_EINVAL
            start = argument * _BLOCK
            if start < 0 or start + _BLOCK > self._entry[3]:
                raise error("ESP_ERR_INVALID_SIZE")
            self._chip.flash.erase(self._entry[2] + start, _BLOCK)
            return 0
        return None

    def set_boot(self):
        chip = self._chip
        kind, subtype, addr, size = self._entry[:4]
        try:
            image.verify(chip.flash, addr, size, chip.family)
        except image.BadImage:
            raise error("ESP_ERR_OTA_VALIDATE_FAILED")
        if kind != table.TYPE_APP:
            raise error("ESP_ERR_INVALID_ARG")
        otadata = _otadata(chip)
        if subtype == table.SUBTYPE_FACTORY:
            otadata.erase()
            return
        slots = len(table.ota_slots(chip.table))
        wanted = subtype - table.SUBTYPE_OTA + 1
        active = otadata.active()
        if active is None:
            otadata.set_sequence(0, wanted, NEW)
            return
        # The lowest sequence for that slot that is not below the active one.
        sequence = wanted % slots
        while sequence < otadata.sequences[active]:
            sequence += slots
        otadata.set_sequence(1 - active, sequence, NEW)

    def get_next_update(self):
        slots = table.ota_slots(self._chip.table)
        if not slots:
            raise OSError(_ENOENT)
        index = slots.index(self._entry) + 1 if self._entry in slots else 0
        return type(self)(slots[index % len(slots)])


class NVS:
    """NVS(namespace): 32-bit integers and blobs; opening makes the namespace."""

    _chip = None

    def __init__(self, namespace):
        if self._chip.nvs is None:
            raise error("ESP_ERR_NVS_NOT_INITIALIZED")
        self._nvs = self._chip.nvs
        self._namespace = namespace
        self._nvs.open(namespace)

    def set_i32(self, key, value):
        if not -_I32_LIMIT <= value < _I32_LIMIT:
            raise OverflowError("overflow converting long int to machine word")
        self._nvs.set(self._namespace, I32, key, value)

    def get_i32(self, key):
        value = self._nvs.get(self._namespace, I32, key)
        if value is None:
            raise error("ESP_ERR_NVS_NOT_FOUND")
        return value

    def set_blob(self, key, value):
        self._nvs.set(self._namespace, BLOB_V1, key, value)

    def get_blob(self, key, buf):
        """Fills `buf` and returns the length of the value."""
        value = self._nvs.get(self._namespace, BLOB_V1, key)
        if value is None:
            raise error("ESP_ERR_NVS_NOT_FOUND")
        if len(value) > len(buf):
            raise error("ESP_ERR_NVS_INVALID_LENGTH")
        buf[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        if not self._nvs.erase(self._namespace, key):
            raise error("ESP_ERR_NVS_NOT_FOUND")

    def commit(self):
        """Nothing to do: ESP-IDF writes at once."""


def _otadata(chip):
    region = table.first(chip.table, table.TYPE_DATA, table.SUBTYPE_OTADATA)
    if not region:
        raise error("ESP_ERR_NOT_FOUND")
    return Otadata(chip.flash, region)


def _boot_entry(chip):
    """The app partition that the bootloader would try first, without its writes."""
    region = table.first(chip.table, table.TYPE_DATA, table.SUBTYPE_OTADATA)
    if not region:
        return None
    otadata = Otadata(chip.flash, region)
    slots = table.ota_slots(chip.table)
    active = otadata.active()
    if slots and active is not None:
        return slots[(otadata.sequences[active] - 1) % len(slots)]
    return table.first(chip.table, table.TYPE_APP, table.SUBTYPE_FACTORY) or slots[0]
