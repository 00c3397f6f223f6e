# SPDX-License-Identifier: MIT
"""Third file of the board, outside of the slots: fetches the last confirmed application again,
where boot.py found no slot that is good (docs/updates.md, "Rescue").

Uses nothing but what stock firmware freezes. Invariants:
- what is fetched is trusted for one reason: the manifest has the SHA-256 that stands in NVS since
  it was confirmed, and every file, read back from flash, has the one in the manifest;
- nothing gets a slot's name before that; a cut at any instant ends here again, or in that slot;
- every wait has an end, and the watchdog is fed for so long alone as an attempt may take;
- only a pack that was looked at and is damaged is removed, and only for want of room.
"""

import asyncio
import gc
import hashlib
import io
import json
import os
import ssl
import struct
import time
from binascii import crc32, hexlify

import deflate
import esp32
import machine
import network
import ntptime
from micropython import const

_WATCHDOG_MS = const(60000)
_IDLE_S = const(20)
_JOIN_MS = const(20000)
_SENT_MS = const(1000)  # for the word to leave before a reset
_LEAST_RATE = const(500)  # bytes a second
_BASE_S = const(300)  # of an attempt, beside its bytes
_FIRST_PAUSE_S = const(15)
_LONGEST_PAUSE_S = const(1800)
_ATTEMPTS = const(10)  # then a reset, for what only that puts right
_WHOLE_MOST = const(0x400000)
_MANIFEST_MOST = const(16384)
_FILES_MOST = const(160)
_HEAD_MOST = const(4096)
_PIECE = const(1024)
_SYNC = const(32768)
_SPARE = const(32768)
_SLOTS = ("factory", "a", "b")
_SECRET = b"fleetling secret"
# ECPrivateKey (RFC 5915) around a P-256 scalar
_SEC1 = (b"\x30\x31\x02\x01\x01\x04\x20", b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")
_HELP = {
    "rescue-none": "No application was ever confirmed here. Install again: fleetling flash",
    "rescue-record": "What was kept of it is damaged. Install again: fleetling flash",
    "rescue-space": "The file system is full. Remove files, or install again: fleetling flash",
    "rescue-wifi": "None of its Wi-Fi networks could be joined.",
    "rescue-hash": "The server has another file there. Publish the old release again.",
    "rescue-format": "The server has another file there. Publish the old release again.",
}


class Failed(Exception):
    """args: code, detail."""


# --- what is kept on the board


def _nvs(name):
    try:
        return esp32.NVS(name)
    except OSError:
        return None


def _blob(store, key, size=520):
    buffer = bytearray(size)
    try:
        return bytes(buffer[: store.get_blob(key, buffer)])
    except (OSError, AttributeError):  # not there, too long, or no NVS
        return None


def _file(path):
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError:
        return None


def _record(data):
    """(sequence, payload) of a record of agent/storage/records.py, or None."""
    if not data or len(data) < 14:
        return None
    magic, version, length, sequence = struct.unpack_from("<HBxHI", data)
    end = 10 + length
    if (magic, version) != (0x4C46, 1) or len(data) < end + 4:
        return None
    if struct.unpack_from("<I", data, end)[0] != crc32(data[:end]):
        return None
    return sequence, data[10:end]


def _newest(store, name):
    """(payload, number of the copy, sequence); (None, 1, 0) where there is none."""
    best = (None, 1, 0)
    for copy in (0, 1):
        found = _record(_blob(store, name + str(copy)))
        if found and (best[0] is None or 0 < (found[0] - best[2]) & 0xFFFFFFFF < 0x80000000):
            best = (found[1], copy, found[0])
    return best


def _json(data):
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _factory():
    """`get(key)` of what the flashing tool gave: NVS, or its copy in a file."""
    store = _nvs("fl_factory")
    if _blob(store, "id"):
        return lambda key: _blob(store, key)
    found = _record(_file("/fl/factory"))
    data = found[1] if found else b""
    values = {}
    at = 0
    while at + 3 <= len(data):
        key, size = struct.unpack_from(">BH", data, at)
        at += 3 + key
        values[data[at - key : at].decode()] = data[at : at + size]
        at += size
    return values.get


def _identity(factory):
    """(certificate, key) that the broker lets in, or None."""
    if factory("crt") and factory("key"):
        return factory("crt"), factory("key")
    made = _newest(_nvs("fl_id"), "ident")[0]
    if not made:
        kept = _record((_file("/fl/identity") or b"")[len(_SECRET) :])
        made = kept[1] if kept else b""
    if len(made) < 35 or made[0] != 1:
        return None
    return made[34:], _SEC1[0] + made[2:34] + _SEC1[1]


def _split(url):
    """(host, port, secure, path)."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    host, _, port = host.partition(":")
    plain = not any([not "!" <= c <= "~" for c in url])
    if scheme not in ("http", "https") or not host or not plain or len(url) > 300:
        raise Failed("rescue-record", "url")
    secure = scheme == "https"
    try:
        return host, int(port or (443 if secure else 80)), secure, "/" + path
    except ValueError:
        raise Failed("rescue-record", "url")


def _context(ca, identity=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=ca)
    if identity:
        made.load_cert_chain(identity[0], identity[1])
    return made


class Rescue:
    def __init__(self):
        self._state = _nvs("fl_state")
        self._factory = _factory()
        settings = _json(_newest(_nvs("fl_conf"), "conf")[0]).get("c")
        self._settings = settings if isinstance(settings, dict) else {}
        self._dog = None
        if self._int("dev") != 1:
            self._dog = machine.WDT(timeout=_WATCHDOG_MS)
        self._told = ""
        self._allow(_BASE_S)

    def _int(self, key):
        try:
            return self._state.get_i32(key)
        except (OSError, AttributeError):
            return 0

    def _set(self, key, value):
        try:
            self._state.set_i32(key, value)
            self._state.commit()
        except (OSError, AttributeError) as e:
            print("rescue:", key, repr(e))  # boot.py tries all slots, whatever it says

    # --- time

    def _allow(self, seconds):
        """From now on the watchdog is fed for so long at most."""
        self._start = time.ticks_ms()
        self._most_ms = seconds * 1000

    def _alive(self):
        if time.ticks_diff(time.ticks_ms(), self._start) >= self._most_ms:
            raise Failed("rescue-slow", "")
        if self._dog:
            self._dog.feed()

    def _pause(self, ms):
        end = time.ticks_add(time.ticks_ms(), ms)
        while time.ticks_diff(end, time.ticks_ms()) > 0:
            self._alive()
            time.sleep_ms(200)

    async def _wait(self, call, *args):
        self._alive()
        try:
            return await asyncio.wait_for(call(*args), _IDLE_S)
        except asyncio.TimeoutError:
            raise Failed("rescue-slow", "")
        except ValueError as e:
            raise Failed("rescue-tls", str(e).strip())
        except (OSError, EOFError) as e:
            raise Failed("rescue-link", str(e.args[0] if e.args else ""))

    # --- the way out

    def run(self):
        """Ends in a reset."""
        print("rescue: no slot is good, so the last confirmed application is fetched")
        for attempt in range(_ATTEMPTS):
            code, detail = "rescue-done", ""
            try:
                self._attempt()
            except Failed as e:
                code, detail = e.args
            except MemoryError as e:
                code, detail = "rescue-memory", repr(e)
            except Exception as e:  # noqa: BLE001 - nobody is left to catch it
                code, detail = "rescue-error", repr(e)
            asyncio.new_event_loop()
            gc.collect()
            print("rescue:", code, detail, _HELP.get(code, ""))
            self._allow(_BASE_S)
            self._tell(code, detail)
            if code == "rescue-done":
                machine.reset()
            seconds = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S << attempt)
            seconds = seconds * (128 + os.urandom(1)[0]) // 256
            self._allow(seconds + _BASE_S)
            self._pause(seconds * 1000)
        machine.reset()

    def _attempt(self):
        self._allow(_BASE_S)
        try:
            self._join()
            self._set_clock()
        except Failed as e:
            joined = e
        else:
            joined = None
        known = self._known()
        if joined:
            raise joined
        self._allow(_BASE_S + known["z"] // _LEAST_RATE)
        asyncio.run(self._fetch(known))

    def _known(self):
        """What a confirmation left (agent/update/switch.py): u is the URL, z the bundle's length,
        h the manifest's SHA-256 in hex, m its length."""
        data = _blob(self._state, "rescue")
        if not data:
            raise Failed("rescue-none", "")
        known = _json(data)
        for key, kind, most in (
            ("u", str, 300),
            ("h", str, 64),
            ("z", int, _WHOLE_MOST),
            ("m", int, _MANIFEST_MOST),
        ):
            value = known.get(key)
            if not isinstance(value, kind) or (value if kind is int else len(value)) > most:
                raise Failed("rescue-record", key)
        if len(known["h"]) != 64 or known["m"] <= 0:
            raise Failed("rescue-record", "h")
        known["h"] = known["h"].encode()
        return known

    def _networks(self):
        """Those of the flashing tool, then those of the settings."""
        try:
            found = json.loads(self._factory("wifi") or b"[]")
        except ValueError:
            found = []
        for networks in (found, self._settings.get("wifi")):
            if isinstance(networks, list):
                yield from networks[:4]

    def _join(self):
        wlan = network.WLAN(network.STA_IF)
        wlan.active(True)
        if wlan.isconnected():
            return
        for ssid, password in self._networks():
            try:
                wlan.disconnect()  # a try that still runs makes the next one fail
            except OSError:
                pass
            try:
                wlan.connect(ssid, password)
            except OSError:
                continue
            for _ in range(_JOIN_MS // 200):
                self._pause(200)
                if wlan.isconnected():
                    return
        raise Failed("rescue-wifi", "")

    def _set_clock(self):
        """SNTP's time, or the floor of what was signed: TLS needs one."""
        epoch = 946684800 if time.gmtime(0)[0] == 2000 else 0
        kept = _newest(self._state, "floor")[0]
        floor = struct.unpack("<I", kept)[0] if kept and len(kept) == 4 else 0
        server = self._settings.get("ntp") or (self._factory("ntp") or b"").decode()
        if server:
            ntptime.host = server
        self._alive()
        try:
            now = ntptime.time() + epoch
        except (OSError, IndexError, ValueError):
            now = 0
        self._alive()
        now = now if now >= floor else max(floor, int(time.time()) + epoch)
        t = time.gmtime(now - epoch)
        machine.RTC().datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))

    # --- the bundle

    async def _fetch(self, known):
        where = _split(known["u"])
        number = self._place()
        new = "/slots/" + _SLOTS[number] + ".new"
        body = Body(self._wait, where, self._factory("ca"))
        try:
            await body.open(0)
            table = await _heading(body, known)
            done = await self._begin(body, new, known)
            left = known["z"] - len(table) - known["m"]
            count, size = _check(_rows(new), table, left)
            self._make_room(12 + known["m"] + size, new)
            await self._files(body, new, known["m"], table, done)
        finally:
            await body.close()
        self._alive()
        if self._look(new) != (known["h"], count, count):
            os.remove(new)
            raise Failed("rescue-flash", new)
        self._take(number, new)

    def _place(self):
        """The slot to keep, or where that is the factory's one that no update is on trial in."""
        word = self._int("slot")
        keep = word & 3
        return keep if keep in (1, 2) else 1 if word >> 2 & 3 == 2 else 2

    async def _begin(self, body, new, known):
        """How many files of the unfinished pack are there, after making one with none."""
        found, right, _ = self._look(new)
        if found == known["h"]:
            await body.skip(known["m"])
            return right
        _remove(new)  # its blocks would not be free before another was written
        self._make_room(known["m"], new)
        try:
            os.mkdir("/slots")
        except OSError:
            pass  # it is there
        content, crc, left = hashlib.sha256(), 0, known["m"]
        with open(new, "wb") as file:
            file.write(bytes(12))
            while left:
                data = await body.read(min(left, _PIECE))
                content.update(data)
                crc = crc32(data, crc)
                file.write(data)
                left -= len(data)
            if _hex(content) == known["h"]:
                file.seek(0)
                file.write(struct.pack("<4sII", b"FLPK", known["m"], crc))
                return 0
        raise Failed("rescue-hash", "manifest")

    def _make_room(self, need, new):
        """Removes what was begun by others, then packs that are damaged, until `need` bytes
        fit."""
        paths = ["/slots/a.new", "/slots/b.new"]
        paths += ["/slots/" + name + ".pack" for name in ("a", "b", "factory")]
        paths.remove(new)
        need += _SPARE
        while _free(new) < need:
            if not paths:
                raise Failed("rescue-space", "{} > {}".format(need, _free(new)))
            path = paths.pop(0)
            _, right, count = self._look(path)
            if path.endswith(".new") or not count or right < count:
                _remove(path)

    def _look(self, path):
        """(SHA-256 of the manifest in hex or b"", files that are right from the first on, how many
        there should be) of a pack; what follows the last file counts as a file that is wrong."""
        right = count = found_crc = 0
        content = hashlib.sha256()
        try:
            with open(path, "rb") as file:
                magic, left, crc = struct.unpack("<4sII", file.read(12))
                if magic != b"FLPK" or left > _MANIFEST_MOST:
                    return b"", 0, 0
                while left:
                    data = file.read(min(left, _PIECE))
                    if not data:
                        return b"", 0, 0
                    content.update(data)
                    found_crc = crc32(data, found_crc)
                    left -= len(data)
                if found_crc != crc:
                    return b"", 0, 0
                content = _hex(content)
                count = sum([1 for _ in _rows(path)])
                for size, digest in _rows(path):
                    self._alive()
                    found = hashlib.sha256()
                    while size:
                        data = file.read(min(size, _PIECE))
                        if not data:
                            return content, right, count
                        found.update(data)
                        size -= len(data)
                    if _hex(found) != digest:
                        return content, right, count
                    right += 1
                return content, right, count + len(file.read(1))
        except (OSError, ValueError, IndexError):
            return b"", 0, 0

    async def _files(self, body, new, length, table, done):
        """Writes the files from number `done` on."""
        at = 12 + length
        start = len(table) + length
        number = synced = 0
        with open(new, "r+b") as file:
            for size, digest in _rows(new):
                packed = _packed(table, number)
                if number == done:
                    file.seek(at)
                    if done:
                        await body.close()
                        await body.open(start)
                if number >= done and size:
                    await _unpack(body, packed, size, digest, file.write)
                    synced += size
                    if synced >= _SYNC:
                        file.flush()
                        synced = 0
                at += size
                start += packed
                number += 1

    def _take(self, number, new):
        """The pack gets its name. No trial is under way any more, before that can be mistaken for
        one; the boots that brought the board here count no longer."""
        self._set("slot", number)
        os.rename(new, new[:-4] + ".pack")
        self._set("guard", 0)
        rtc = machine.RTC()
        data = rtc.memory()
        body = data[-30:-4]
        if len(body) == 26 and struct.pack("<I", crc32(body)) == data[-4:]:
            body = body[:3] + b"\0\0\1" + body[6:]  # bad, safe, good
            rtc.memory(data[:-30] + body + struct.pack("<I", crc32(body)))
        self._intend()

    def _intend(self):
        """What the next boot is to say of this reset (agent/bootcause.py)."""
        _, copy, sequence = _newest(self._state, "intent")
        text = json.dumps({"boot": self._int("boots"), "why": "rescue", "detail": ""}).encode()
        body = struct.pack("<HBxHI", 0x4C46, 1, len(text), sequence + 1 & 0xFFFFFFFF) + text
        try:
            self._state.set_blob("intent" + str(1 - copy), body + struct.pack("<I", crc32(body)))
            self._state.commit()
        except (OSError, AttributeError):
            pass  # only the reason is lost

    # --- the word to the broker

    def _tell(self, code, detail):
        """On up/update, retained, and once for each code as an event. With QoS 0: for an answer
        umqtt.simple would wait for ever; what else it waits for, the watchdog bounds."""
        name = (self._factory("id") or b"").decode()
        identity = _identity(self._factory)
        if not name or not identity or not network.WLAN(network.STA_IF).isconnected():
            return
        epoch = 946684800 if time.gmtime(0)[0] == 2000 else 0
        at = int(time.time()) + epoch
        said = {"state": "rescue", "id": "", "targets": [], "code": code, "detail": detail[:100]}
        said["at"] = at
        event = {"seq": 0, "up": time.ticks_ms() // 1000, "at": at, "code": "rescue"}
        event["reason"] = code
        topic = "fleetling/v1/" + name + "/up/"
        try:
            from umqtt.simple import MQTTClient

            where = self._settings.get("broker") or (self._factory("broker") or b"").decode()
            host, _, port = where.rpartition(":")
            context = _context(self._factory("ca"), identity)
            client = MQTTClient(name, host, int(port), keepalive=60, ssl=context)
            self._alive()
            try:
                client.connect(True, _IDLE_S)
            except TypeError:  # of an older firmware, which knows no time-out
                client.connect()
            self._alive()
            client.publish(topic + "update", json.dumps(said), True)
            if code != self._told:
                client.publish(topic + "event", json.dumps(event))
            client.disconnect()
            self._pause(_SENT_MS)
            self._told = code
        except Exception as e:  # noqa: BLE001 - it asserts, and whatever it is, the board goes on
            print("rescue: the broker was not told:", repr(e))


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass  # it is not there


def _free(new):
    """Bytes that there are for a file of that name."""
    status = os.statvfs("/")
    free = status[0] * status[3]
    try:
        return free + os.stat(new)[6]
    except OSError:
        return free


def _hex(found):
    return hexlify(found.digest())


def _packed(table, number):
    return struct.unpack_from("<I", table, 16 + 4 * number)[0]


async def _heading(body, known):
    """Head and table of the bundle (docs/updates.md); the manifest comes next."""
    head = await body.read(16)
    magic, version, length, count = struct.unpack("<4sBxxxII", head)
    sound = magic == b"FLAP" and version == 1 and length == known["m"]
    if not sound or not 0 < count <= _FILES_MOST:
        raise Failed("rescue-format", "head")
    return head + await body.read(4 * count + 4)


def _rows(path):
    """(size, SHA-256 in hex) of each file of a pack, read as they are wanted: in memory the
    manifest would want the largest block of all. ValueError or IndexError where it is none."""
    with open(path, "rb") as file:
        left = struct.unpack("<4sII", file.read(12))[1]
        text = file.read(min(left, 256))
        left -= len(text)
        text = text[text.index(b'"files":[') + 9 :]
        while text[:1] != b"]":
            row, found, rest = text.partition(b"]")
            if not found:
                more = file.read(min(left, 256))
                if not more or len(text) > 512:
                    raise ValueError("manifest")
                left -= len(more)
                text += more
                continue
            parts = row.split(b'"')
            yield int(parts[2][1:-1]), parts[3]
            text = rest


def _check(rows, table, left):
    """(how many files there are, their bytes); their payloads in the table take `left` bytes, one
    for each."""
    count = whole = 0
    for size, _ in rows:
        if count == (len(table) - 20) // 4 or (size == 0) != (_packed(table, count) == 0):
            raise Failed("rescue-format", "length")
        left -= _packed(table, count)
        whole += size
        count += 1
    if left or count != (len(table) - 20) // 4:
        raise Failed("rescue-format", "length")
    return count, whole


async def _unpack(body, packed, size, digest, write):
    """One file, a payload of its own (docs/payload.md)."""
    if packed < 88:
        raise Failed("rescue-format", "payload")
    fields = struct.unpack_from("<4sBBBBII", await body.read(88))
    magic, version, kind, window, sectors, image, length = fields
    sound = (magic, version, kind, image, length) == (b"FLPL", 1, 0, size, packed)
    if not sound or not (9 <= window <= 12 and 1 <= sectors <= 2):
        raise Failed("rescue-format", "payload")
    packed -= 88
    found = hashlib.sha256()
    while size:
        count, raw = struct.unpack_from("<HH", await body.read(8))
        packed -= 8 + count
        if count > raw or packed < 0 or raw != min(size, sectors * 4096):
            raise Failed("rescue-format", "frame")
        data = await body.read(count)
        if count < raw:
            try:
                data = deflate.DeflateIO(io.BytesIO(data), deflate.RAW, window).read(raw)
            except (OSError, EOFError, ValueError):
                raise Failed("rescue-format", "deflate")
        if len(data) != raw:
            raise Failed("rescue-format", "frame")
        found.update(data)
        write(data)
        size -= raw
    if packed:
        raise Failed("rescue-format", "length")
    if _hex(found) != digest:
        raise Failed("rescue-hash", "file")


class Body:
    """The file on the server from some byte on. Asks as HTTP/1.0 does, so that no answer comes in
    chunks; redirects are refused."""

    def __init__(self, wait, where, ca):
        self._wait = wait
        self._where = where
        self._ca = ca
        self._writer = None

    async def open(self, at):
        host, port, secure, path = self._where
        self._reader, self._writer = await self._wait(self._dial, host, port, secure)
        request = "GET {} HTTP/1.0\r\nHost: {}:{}\r\nRange: bytes={}-\r\n\r\n"
        await self._wait(self._ask, request.format(path, host, port, at).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            if len(head) > _HEAD_MOST:
                raise Failed("rescue-http", "head")
            head += await self._some(256)
        head, _, self._rest = head.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        status = lines[0].split(b" ")[1:2]
        begins = b"content-range: bytes " + str(at).encode() + b"-"
        coded = [line for line in lines if line.split(b":")[0].endswith(b"-encoding")]
        if status == [b"206"] and any([line.startswith(begins) for line in lines]) and not coded:
            return
        if status != [b"200"] or coded:
            raise Failed("rescue-http", status[0].decode() if status else "")
        await self.skip(at)  # it knows no ranges

    async def _dial(self, host, port, secure):
        if not secure:
            return await asyncio.open_connection(host, port)
        context = _context(self._ca)
        return await asyncio.open_connection(host, port, ssl=context, server_hostname=host)

    async def _ask(self, request):
        self._writer.write(request)
        await self._writer.drain()

    async def _some(self, count):
        data = await self._wait(self._reader.read, count)
        if not data:
            raise Failed("rescue-link", "closed")
        return data

    async def read(self, count):
        """The next `count` bytes."""
        out = bytearray(count)
        at = 0
        while at < count:
            data = self._rest[: count - at]
            self._rest = self._rest[len(data) :]
            if not data:
                data = await self._some(min(count - at, _PIECE))
            out[at : at + len(data)] = data
            at += len(data)
        return bytes(out)

    async def skip(self, count):
        while count:
            count -= len(await self.read(min(count, _PIECE)))

    async def close(self):
        writer, self._writer = self._writer, None
        if writer:
            try:
                writer.close()
                await asyncio.wait_for(writer.wait_closed(), 5)
            except (OSError, asyncio.TimeoutError):
                pass  # the socket is gone either way


def main():
    try:
        Rescue().run()
    except KeyboardInterrupt:
        print("\nrescue: stopped by Ctrl-C. Where a watchdog runs, it resets within a minute.")
    finally:
        asyncio.new_event_loop()
