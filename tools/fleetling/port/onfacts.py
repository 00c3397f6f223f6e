# SPDX-License-Identifier: MIT
"""Sent to a board's prompt after `onboard.py`: what it is, without a secret.

MicroPython subset; the host's `facts.py` sends it and reads the line of JSON.
"""


class Facts:
    def __init__(self):
        self.found = {}
        for name in ("build", "memory", "partitions", "clock", "stored", "agent"):
            try:
                getattr(self, name)()
            except (ImportError, OSError, AttributeError, ValueError) as e:
                self.found.setdefault("missing", []).append([name, repr(e)])
        fl.say(self.found)

    def build(self):
        name = os.uname()
        made = sys.implementation
        self.found["machine"] = name[4]
        self.found["platform"] = sys.platform
        self.found["interpreter"] = made.name
        self.found["version"] = list(made.version)[:3]
        self.found["build"] = getattr(made, "_build", "")

    def memory(self):
        import gc

        gc.collect()
        self.found["heap"] = gc.mem_free() + gc.mem_alloc()
        room = os.statvfs("/")
        self.found["storage"] = [room[0] * room[2], room[0] * room[3]]

    def partitions(self):
        import esp32

        kind = esp32.Partition
        rows = []
        for each in (kind.TYPE_APP, kind.TYPE_DATA):
            rows += [list(one.info()) for one in kind.find(each)]
        self.found["partitions"] = rows
        self.found["runs"] = kind(kind.RUNNING).info()[4]
        vfs = kind.find(kind.TYPE_DATA, label="vfs")
        head = bytearray(32)
        if vfs:
            vfs[0].readblocks(0, head, 0)
            self.found["littlefs"] = bytes(head[8:16]) == b"littlefs"
        entries = []
        for one in kind.find(kind.TYPE_DATA, label="otadata"):
            for block in (0, 1):
                one.readblocks(block, head, 0)
                entries.append(binascii.hexlify(head).decode())
        self.found["otadata"] = entries

    def clock(self):
        import time

        epoch = 946684800 if time.gmtime(0)[0] == 2000 else 0
        self.found["unix"] = int(time.time()) + epoch

    def stored(self):
        import esp32

        state = esp32.NVS("fl_state")
        for key in ("dev", "boots", "slot", "reset"):
            try:
                self.found[key] = state.get_i32(key)
            except OSError:
                self.found[key] = 0
        factory = esp32.NVS("fl_factory")
        for key in ("id", "broker", "enrol", "ntp", "repo"):
            data = self.blob(factory, key)
            self.found[key] = data.decode() if data else ""
        for key in ("ca", "crt", "claim_crt"):
            data = self.blob(factory, key)
            self.found[key] = binascii.hexlify(data).decode() if data else ""
        vault = esp32.NVS("fl_id")
        self.found["own_key"] = bool(self.blob(vault, "ident0") or self.blob(vault, "ident1"))

    def blob(self, nvs, key):
        try:
            count = nvs.get_blob(key, fl.buffer)
        except OSError:
            return None
        return bytes(fl.buffer[:count])

    def agent(self):
        running = fl.running
        if not running:
            return
        from agent.version import VERSION

        self.found["agent"] = VERSION
        self.found["identity_error"] = running.identity_error
        self.found["safe"] = running.supervisor.safe
        self.found["synced"] = bool(running.clock.synced())
        if running.keyring:
            used = running.keyring.identity()
            self.found["logs_in_as"] = used.name
            self.found["endpoint"] = "{}:{}".format(*used.endpoint)
            self.found["certificate"] = binascii.hexlify(used.certificate or b"").decode()
        if running.session:
            self.found["connects"] = running.session.connects
            self.found["last_error"] = str(running.session.last_error or "")


Facts()
