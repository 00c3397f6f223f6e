# SPDX-License-Identifier: MIT
"""NOR flash as the chip has it, and the stores that keep its bytes.

Invariants:
- erasing sets every bit of a 4096-byte sector, programming can only clear bits;
- one operation is one sector erase, or one program inside one 256-byte page: longer programs are
  split at page borders (Winbond W25Q32 datasheet, "Page Program"); reading is free;
- `hook(kind, addr, data, number)` sees each operation before it happens, and may damage it;
- after a power cut the chip is dead: every operation and every read raises `PowerCut`.

`kind` is PROGRAM or ERASE, `data` the bytes of a program or None, `number` counts from 0. What the
hook returns decides about the operation:

    None           do it
    SKIP           do nothing and say nothing: the chip lost the command
    FAIL           do nothing, and raise OSError(-24577, 'ESP_ERR_FLASH_OP_FAIL')
    CUT_BEFORE     cut the power before it
    CUT_AFTER      do it whole, then cut
    int n > 0      program or erase only the first n bytes, then cut
    bytes mask     program: bit i of the mask (LSB first) says whether the 4-byte word i gets
                   through; erase: the bits set in the mask, repeated over the sector, are erased
                   and the others keep their value; then cut
"""

from array import array

from micropython import const

PROGRAM = "program"
ERASE = "erase"

CUT_BEFORE = const(0)
CUT_AFTER = const(-1)
SKIP = const(-2)
FAIL = const(-3)

SECTOR = const(4096)
PAGE = const(256)
_OP_FAIL = const(-24577)

# Made once: an erase must not need memory, which a real one does not.
_BLANK = b"\xff" * SECTOR

# Typical times of a 4 MB chip in microseconds, for `Flash.spend`.
_ERASE_US = const(45000)
_PROGRAM_US = const(700)


class PowerCut(SystemExit):
    """Ends a life. A SystemExit, because asyncio hands that through instead of logging it."""


class FlashFault(Exception):
    """A use that real NOR would not do as meant: a mistake in the code under test."""


class MemoryStore:
    """Sectors as immutable bytes, blank ones shared: a clone copies references, not 4 MB."""

    def __init__(self, size, sectors=None):
        self.size = size
        self._sectors = sectors or [b"\xff" * SECTOR] * (size // SECTOR)

    def clone(self):
        return MemoryStore(self.size, list(self._sectors))

    def read(self, addr, n):
        start = addr % SECTOR
        if start + n <= SECTOR:
            return self._sectors[addr // SECTOR][start : start + n]
        buf = bytearray(n)
        self.read_into(addr, buf)
        return bytes(buf)

    def read_into(self, addr, buf):
        view = memoryview(buf)
        done = 0
        while done < len(view):
            start = (addr + done) % SECTOR
            count = min(SECTOR - start, len(view) - done)
            sector = self._sectors[(addr + done) // SECTOR]
            view[done : done + count] = memoryview(sector)[start : start + count]
            done += count

    def write(self, addr, data):
        view = memoryview(data)
        done = 0
        while done < len(view):
            start = (addr + done) % SECTOR
            count = min(SECTOR - start, len(view) - done)
            number = (addr + done) // SECTOR
            if count == SECTOR:
                self._sectors[number] = bytes(view[done : done + count])
            else:
                sector = bytearray(self._sectors[number])
                sector[start : start + count] = view[done : done + count]
                self._sectors[number] = bytes(sector)
            done += count


class FileStore:
    """A flash image in a file, created blank where there is none; never held in memory."""

    def __init__(self, path, size):
        self.size = size
        self._file = path if hasattr(path, "seek") else _open(path)
        length = self._file.seek(0, 2)
        while length < size:
            length += self._file.write(b"\xff" * min(SECTOR, size - length))

    def read(self, addr, n):
        self._file.seek(addr)
        return self._file.read(n)

    def read_into(self, addr, buf):
        self._file.seek(addr)
        self._file.readinto(buf)

    def write(self, addr, data):
        self._file.seek(addr)
        self._file.write(data)

    def close(self):
        self._file.close()


def _open(path):
    try:
        return _unbuffered(path, "r+b")
    except OSError:
        return _unbuffered(path, "w+b")


def _unbuffered(path, mode):
    # MicroPython's files have no buffer, and its open() does not know the argument by every name.
    try:
        return open(path, mode, buffering=0)
    except TypeError:
        return open(path, mode)


class Flash:
    """The chip. `store` keeps the bytes, everything else is how NOR behaves.

    `and_ranges`: [(start, end)], where programming over programmed bits quietly ANDs them, as the
    chip does. It is for those who read back what they wrote (littlefs); everywhere else such a
    program raises FlashFault, because no code of ours means it.
    `bad_reads`: [(start, end)], reading there raises OSError(-24577).
    `spend`: None, or called with the microseconds that an operation takes.
    """

    def __init__(self, store, size=0x400000):
        self.store = store
        self.size = size
        self.operations = 0
        self.hook = None
        self.spend = None
        self.dead = False
        self.and_ranges = []
        self.bad_reads = []
        self._erases = array("H", bytes(2 * (size // SECTOR)))
        # Sectors whose erase was skipped: what is programmed there is not the program's mistake.
        self._unerased = []

    def erases(self, sector):
        return self._erases[sector]

    def revive(self):
        """Power is back. Bytes and counters are as they were."""
        self.dead = False

    def cut(self):
        self.dead = True
        raise PowerCut("power cut")

    def readinto(self, addr, buf):
        self._check_read(addr, len(buf))
        self.store.read_into(addr, buf)

    def read(self, addr, n):
        # littlefs reads millions of times in a simulated life.
        if self.dead or self.bad_reads or addr < 0 or n < 0 or addr + n > self.size:
            self._check_read(addr, n)
        return self.store.read(addr, n)

    def _check_read(self, addr, n):
        self._check(addr, n)
        for start, end in self.bad_reads:
            if addr < end and start < addr + n:
                raise OSError(_OP_FAIL, "ESP_ERR_FLASH_OP_FAIL")

    def program(self, addr, data):
        self._check(addr, len(data))
        view = memoryview(data)
        while len(view):
            count = min(PAGE - addr % PAGE, len(view))
            self._operation(PROGRAM, addr, bytes(view[:count]))
            addr += count
            view = view[count:]

    def erase(self, addr, length):
        self._check(addr, length)
        if addr % SECTOR or length % SECTOR:
            raise FlashFault("erase of {} bytes at {:#x}: not whole sectors".format(length, addr))
        for sector in range(addr, addr + length, SECTOR):
            self._operation(ERASE, sector, None)

    def _check(self, addr, length):
        if self.dead:
            raise PowerCut("the power is off")
        if addr < 0 or length < 0 or addr + length > self.size:
            raise FlashFault("{} bytes at {:#x}: outside of the flash".format(length, addr))

    def _operation(self, kind, addr, data):
        if self.dead:
            raise PowerCut("the power is off")
        order = None
        if self.hook:
            order = self.hook(kind, addr, data, self.operations)
        self.operations += 1
        if self.spend:
            self.spend(_ERASE_US if kind == ERASE else _PROGRAM_US)
        if order == SKIP:
            if kind == ERASE:
                self._unerased.append(addr)
            return
        if order == FAIL:
            raise OSError(_OP_FAIL, "ESP_ERR_FLASH_OP_FAIL")
        if order != CUT_BEFORE:
            whole = order is None or order == CUT_AFTER
            if kind == ERASE:
                self._erases[addr // SECTOR] = min(self._erases[addr // SECTOR] + 1, 0xFFFF)
                self._erase(addr, None if whole else order)
            else:
                self._program(addr, data, None if whole else order)
        if order is not None:
            self.cut()

    def _program(self, addr, data, torn):
        old = bytearray(len(data))
        self.store.read_into(addr, old)
        kept = int.from_bytes(old, "little")
        new = int.from_bytes(data, "little")
        if kept & new != new and not self._may_and(addr, len(data)):
            raise FlashFault("program of set bits over cleared ones at {:#x}".format(addr))
        if isinstance(torn, int):
            data = data[:torn]
            new = int.from_bytes(data + bytes(old[torn:]), "little")
        elif torn is not None:
            mixed = bytearray(old)
            for start in range(0, len(data), 4):
                bit = start // 4
                if torn[bit // 8 % len(torn)] >> bit % 8 & 1:
                    mixed[start : start + 4] = data[start : start + 4]
            new = int.from_bytes(bytes(mixed), "little")
        self.store.write(addr, (kept & new).to_bytes(len(old), "little"))

    def _may_and(self, addr, length):
        for start, end in self.and_ranges:
            if start <= addr and addr + length <= end:
                return True
        return addr - addr % SECTOR in self._unerased

    def _erase(self, addr, torn):
        if torn is None:
            self.store.write(addr, _BLANK)
            if addr in self._unerased:
                self._unerased.remove(addr)
        elif isinstance(torn, int):
            self.store.write(addr, b"\xff" * min(torn, SECTOR))
        else:
            old = bytearray(SECTOR)
            self.store.read_into(addr, old)
            for i in range(SECTOR):
                old[i] |= torn[i % len(torn)]
            self.store.write(addr, old)
