# SPDX-License-Identifier: MIT
"""The `umqtt.simple` module that the firmware freezes, as far as programs see it: the same calls,
blocking in the same places, and the same exceptions.

It asserts where an answer is not what it hoped for, and waits for one without an end: with QoS 1
for the acknowledgement, in `wait_msg` for a message. Only `connect` takes a time-out.
"""

import struct

from .module import Module


class MQTTException(Exception):
    pass


def make(socket):
    """The module object. `socket` is the board's module of that name."""

    class MQTTClient(Client):
        sockets = socket

    module = Module("umqtt.simple")
    module.MQTTException = MQTTException
    module.MQTTClient = MQTTClient
    return module


def _text(value):
    data = value.encode() if isinstance(value, str) else bytes(value)
    return struct.pack(">H", len(data)) + data


def _packet(head, body):
    size = len(body)
    out = bytearray((head,))
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out + body)


class Client:
    def __init__(
        self,
        client_id,
        server,
        port=0,
        user=None,
        password=None,
        keepalive=0,
        ssl=None,
        ssl_params=None,
    ):
        self.client_id = client_id
        self.sock = None
        self.server = server
        self.port = port or (8883 if ssl else 1883)
        self.ssl = ssl
        self.pid = 0
        self.cb = None
        self.user = user
        self.pswd = password
        self.keepalive = keepalive
        self.lw_topic = self.lw_msg = None
        self.lw_qos = 0
        self.lw_retain = False

    def set_callback(self, f):
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        assert 0 <= qos <= 2
        assert topic
        self.lw_topic, self.lw_msg = topic, msg
        self.lw_retain, self.lw_qos = retain, qos

    def connect(self, clean_session=True, timeout=None):
        self.sock = self.sockets.socket()
        self.sock.settimeout(timeout)
        self.sock.connect(self.sockets.getaddrinfo(self.server, self.port)[0][-1])
        if self.ssl:
            self.sock = self.ssl.wrap_socket(self.sock, server_hostname=self.server)
        flags = 2 if clean_session else 0
        body = _text(self.client_id)
        if self.lw_topic:
            flags |= 4 | self.lw_qos << 3 | (0x20 if self.lw_retain else 0)
            body += _text(self.lw_topic) + _text(self.lw_msg)
        if self.user:
            flags |= 0xC0
            body += _text(self.user) + _text(self.pswd)
        head = b"\0\4MQTT\4" + struct.pack(">BH", flags, self.keepalive)
        self.sock.write(_packet(0x10, head + body))
        answer = self.sock.read(4)
        assert answer[0] == 0x20 and answer[1] == 2
        if answer[3]:
            raise MQTTException(answer[3])
        return answer[2] & 1

    def disconnect(self):
        self.sock.write(b"\xe0\0")
        self.sock.close()

    def ping(self):
        self.sock.write(b"\xc0\0")

    def publish(self, topic, msg, retain=False, qos=0):
        assert qos in (0, 1)
        data = msg.encode() if isinstance(msg, str) else bytes(msg)
        body = _text(topic)
        if qos:
            self.pid += 1
            body += struct.pack(">H", self.pid)
        self.sock.write(_packet(0x30 | qos << 1 | (1 if retain else 0), body + data))
        while qos:
            if self.wait_msg() == 0x40:
                answer = self.sock.read(3)
                assert answer[0] == 2
                if answer[1] << 8 | answer[2] == self.pid:
                    return

    def subscribe(self, topic, qos=0):
        assert self.cb is not None, "Subscribe callback is not set"
        self.pid += 1
        self.sock.write(_packet(0x82, struct.pack(">H", self.pid) + _text(topic) + bytes((qos,))))
        while True:
            if self.wait_msg() == 0x90:
                answer = self.sock.read(4)
                assert answer[1] << 8 | answer[2] == self.pid
                if answer[3] == 0x80:
                    raise MQTTException(answer[3])
                return

    def wait_msg(self):
        """One packet: a message goes to the callback, the first byte of another is returned."""
        first = self.sock.read(1)
        self.sock.setblocking(True)
        if first is None:
            return None
        if first == b"":
            raise OSError(-1)
        if first == b"\xd0":
            assert self.sock.read(1) == b"\0"
            return None
        if first[0] & 0xF0 != 0x30:
            return first[0]
        size = shift = 0
        while True:
            byte = self.sock.read(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        data = self.sock.read(size)
        at = 2 + (data[0] << 8 | data[1])
        topic = data[2:at]
        if first[0] & 6:
            number = data[at : at + 2]
            at += 2
        self.cb(topic, data[at:])
        if first[0] & 6:
            assert first[0] & 6 == 2
            self.sock.write(b"\x40\2" + number)
        return first[0]

    def check_msg(self):
        self.sock.setblocking(False)
        return self.wait_msg()
