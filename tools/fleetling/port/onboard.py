# SPDX-License-Identifier: MIT
"""Sent to a board's prompt as it is: files, and the watchdog fed while it is worked with them.

MicroPython subset; the host's `board.py` sends it, and takes the two names away at the end. What
is asked for is printed as one line of JSON.
"""

import binascii
import deflate
import hashlib
import io
import json
import os
import sys

try:
    fl.end()  # a file that was being written when Ctrl-C came
except NameError:
    pass


class Fl:
    """`running` is the agent's runtime where there is one."""

    def __init__(self):
        self.buffer = bytearray(1536)
        self.file = None
        self.feed = self._idle
        self.watched = False
        self.running = getattr(sys.modules.get("agent"), "_runtime", None)
        if self.running and self.running.board._watchdog:
            self.feed = self.running.board.feed_watchdog
            self.watched = True
        elif self._guarded():
            import machine

            # It runs since boot.py, and cannot be stopped: this is the same one.
            self.feed = machine.WDT(timeout=60000).feed
            self.watched = True

    def _idle(self):
        pass

    def _guarded(self):
        """Whether boot.py has started the watchdog at this start."""
        if self.running:
            return not self.running.development
        try:
            import esp32

            try:
                if esp32.NVS("fl_state").get_i32("dev") == 1:
                    return False
            except OSError:
                pass  # never set
            with open("/boot.py") as file:
                return "fl_state" in file.read(2048)
        except (ImportError, OSError):
            return False

    def say(self, value):
        self.feed()
        print(json.dumps(value))

    def begin(self, path):
        self.file = open(path, "wb")
        self.feed()

    def more(self, text):
        packed = io.BytesIO(binascii.a2b_base64(text))
        data = deflate.DeflateIO(packed, deflate.RAW, 12).read()
        self.file.write(data)
        self.feed()

    def end(self):
        if self.file:
            self.file.close()
        self.file = None

    def sha(self, path):
        """[size, SHA-256 in hex] of what stands in flash, or None."""
        try:
            file = open(path, "rb")
        except OSError as e:
            if e.args[0] in (1, 2, 21):  # EPERM of the root, ENOENT, EISDIR
                self.say(None)
                return
            raise
        digest = hashlib.sha256()
        size = 0
        view = memoryview(self.buffer)
        while True:
            count = file.readinto(self.buffer)
            if not count:
                break
            digest.update(view[:count])
            size += count
            self.feed()
        file.close()
        self.say([size, binascii.hexlify(digest.digest()).decode()])

    def part(self, path, at):
        with open(path, "rb") as file:
            file.seek(at)
            count = file.readinto(self.buffer)
        self.say(binascii.b2a_base64(memoryview(self.buffer)[:count]).decode().strip())

    def names(self, path):
        """[[name, whether it is a folder, size]...]"""
        self.say([[e[0], e[1] == 0x4000, e[3] if len(e) > 3 else 0] for e in os.ilistdir(path)])

    def folder(self, path):
        try:
            os.mkdir(path)
        except OSError as e:
            if e.args[0] != 17:  # EEXIST
                raise

    def remove(self, path):
        try:
            os.remove(path)
        except OSError as e:
            if e.args[0] != 2:  # ENOENT
                raise

    def number(self, space, key, value=None):
        """An integer of NVS, 0 where there is none; `value` is written where it differs."""
        import esp32

        nvs = esp32.NVS(space)
        try:
            found = nvs.get_i32(key)
        except OSError:
            found = 0
        if value is not None and value != found:
            nvs.set_i32(key, value)
            nvs.commit()
        self.say(found)

    def digest(self, space, key):
        """SHA-256 in hex of a blob of NVS, or None."""
        import esp32

        try:
            count = esp32.NVS(space).get_blob(key, self.buffer)
        except OSError:
            self.say(None)
            return
        self.say(binascii.hexlify(hashlib.sha256(self.buffer[:count]).digest()).decode())

    def blob(self, space, key, text):
        """Stores a blob in NVS; takes it away where `text` is None."""
        import esp32

        nvs = esp32.NVS(space)
        if text is None:
            try:
                nvs.erase_key(key)
            except OSError:
                return
        else:
            nvs.set_blob(key, binascii.a2b_base64(text))
        nvs.commit()
        self.feed()

    def forgive(self):
        """The end of this start speaks against nobody: it is no crash."""
        import machine

        try:
            memory = bytearray(machine.RTC().memory())
            body = memory[-30:-4]
            if body[:3] == b"GL\x01":  # boot.py's record
                body[5] |= 1  # good
                memory[-30:] = body + binascii.crc32(body).to_bytes(4, "little")
                machine.RTC().memory(memory)
        except (AttributeError, ValueError):
            pass  # a board without such memory

    def restart(self):
        import machine

        if self.running:
            self.running.supervisor.reset("repl")
        self.forgive()
        machine.reset()


fl = Fl()
