# SPDX-License-Identifier: MIT
"""What the firmware has around the chip, for a board that is a process: modules, files, air, cuts.

MicroPython subset; only entry.py imports it. `keep_air` lets the host change the Wi-Fi world while
the board runs. Real sockets are used, but only while the fake radio has joined a network.
"""

import json
import os
import sys
import time

import vfs
from chip import umqtt
from chip.module import Module as Made
from micropython import const
from process.inside import tls_layer

_EPOCH = const(946684800)  # 2000-01-01 in Unix seconds
_LOOK_MS = const(100)


class Module:
    """Stands in sys.modules for a built-in one: its names, and those that differ on the ESP32."""

    def __init__(self, original, **names):
        for name in dir(original):
            if not name.startswith("__"):
                setattr(self, name, getattr(original, name))
        for name in names:
            setattr(self, name, names[name])


class Implementation:
    """sys.implementation of the official build."""

    def __init__(self, names):
        for name in names:
            setattr(self, name, names[name])


def _time(board):
    def at(seconds):
        return int(board.now_2000() if seconds is None else seconds) + _EPOCH

    return Module(
        time,
        time=board.now_2000,
        time_ns=lambda: board.now_2000_ms() * 1000000,
        gmtime=lambda seconds=None: time.gmtime(at(seconds)),
        localtime=lambda seconds=None: time.gmtime(at(seconds)),
        mktime=lambda parts: (
            int(time.mktime(parts)) - int(time.mktime((2000, 1, 1, 0, 0, 0, 0, 0)))
        ),
    )


def _socket(board):
    import socket

    def needs_network(call):
        def guarded(*args):
            if not board.radio.connected():
                raise OSError(118, "EHOSTUNREACH")
            return call(*args)

        return guarded

    return Module(
        socket,
        getaddrinfo=needs_network(socket.getaddrinfo),
        socket=needs_network(socket.socket),
    )


def inject(board):
    """Puts the official firmware's modules in place of the unix port's."""
    modules = board.modules()
    modules["os"] = Module(os, uname=board.uname, sync=lambda: None)
    modules["time"] = _time(board)
    modules["socket"] = _socket(board)
    modules["umqtt"] = Made("umqtt")
    modules["umqtt.simple"] = umqtt.make(modules["socket"])
    made = Implementation(board.implementation())
    modules["sys"] = Module(sys, platform="esp32", implementation=made)
    for name in modules:
        sys.modules[name] = modules[name]
    tls_layer.provide()
    if board.tls_heap:
        from process.inside import tls_heap

        tls_heap.take(board.tls_heap)


def mount(board):
    """Mounts the vfs partition as the frozen _boot.py does, which gives up on a spoilt one."""
    partition = board.modules()["esp32"].Partition
    found = partition.find(partition.TYPE_DATA, label="vfs")
    vfs.umount("/")
    try:
        vfs.mount(vfs.VfsLfs2(found[0]), "/")
    except OSError:
        while True:
            print("The filesystem appears to be corrupted. If you had important data there, you")
            print("may want to make a flash snapshot to try to recover it. Otherwise, perform")
            print(
                "factory reprogramming of MicroPython firmware (completely erase flash, followed"
            )
            print("by firmware programming).")
            time.sleep(3)
    sys.path[:] = [".frozen", "", "/lib"]


def keep_air(board, path):
    """Reads the access points from the host's file, now and again, when the radio is used."""
    file = open(path)
    air = board.air
    last = [None, ""]

    def look():
        now = board.ticks_ms()
        if last[0] is not None and now - last[0] < _LOOK_MS:
            return
        last[0] = now
        file.seek(0)
        text = file.read()
        if text == last[1]:
            return
        try:
            wanted = json.loads(text)
        except ValueError:
            return  # the host is writing it; the next look sees the whole
        last[1] = text
        air.ntp_up = wanted.get("ntp_up", True)
        air.connect_ms = wanted.get("connect_ms", air.connect_ms)
        known = {point["ssid"]: point for point in air.points}
        for point in wanted["points"]:
            there = known.get(point["ssid"]) or air.add(point["ssid"])
            if there["password"] != point["password"]:
                air.kick(point["ssid"])  # an access point drops its stations to change it
            there.update(point)

    poll = board.radio.poll

    def looking_poll():
        look()
        poll()

    board.radio.poll = looking_poll
    look()


def plan_cut(flash, cut):
    """Cuts the power at flash operation number `cut["at"]`, torn as `cut["torn"]` says."""

    def hook(kind, addr, data, number):
        return cut.get("torn", 0) if number == cut["at"] else None

    flash.hook = hook
