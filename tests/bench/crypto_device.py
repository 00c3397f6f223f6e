# SPDX-License-Identifier: MIT
"""Times one ECDSA verification of the board's code against a plain one. Runs on MicroPython.

    micropython -X heapsize=200k tests/bench/crypto_device.py ROUNDS < signatures

Lines on stdin: point, digest, r, s in hex. Each is verified by all contestants in turn, so that
whatever else the machine does hits them alike; the ratio is taken per signature. Answers one
line of JSON with the times in microseconds.

`plain` is what one writes first, without being careless: Jacobian coordinates, the doubling for
a = -3, Shamir's trick over G, Q and G + Q, inverses by Euclid. `mixed` is the same with that table
made affine, so that additions cost 11 multiplications and not 16. The board's code runs twice:
with a key it has not seen, and with a key that it has seen more than once.
"""

import gc
import json
import sys
import time

sys.path.insert(0, "")

from agent import ondemand
from agent.crypto.steps import finish

LOADED = ("agent.crypto.p256", "agent.crypto.generator", "agent.crypto.der")


def heap_of_code():
    """(bytes taken by loading the modules from source, bytes still taken when released)."""
    gc.collect()
    before = gc.mem_alloc()
    __import__("agent.crypto.p256")
    gc.collect()
    most = gc.mem_alloc()
    ondemand.release(*LOADED)
    gc.collect()
    return most - before, gc.mem_alloc() - before


HEAP_CODE, HEAP_LEFT = heap_of_code()

from agent.crypto import csr, p256, sign  # noqa: E402

P, N, inverse = p256.P, p256.N, p256.inverse
G = p256.entry(p256.TABLE, 0, 0) + (1,)


def plain_double(point):
    x, y, z = point
    if not z:
        return point
    zz = z * z % P
    yy = y * y % P
    s = 4 * x * yy % P
    m = 3 * (x - zz) * (x + zz) % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * yy * yy) % P, 2 * y * z % P


def plain_add(a, b):
    """Two points in Jacobian coordinates (add-1998-cmo-2)."""
    x1, y1, z1 = a
    x2, y2, z2 = b
    if not z1:
        return b
    if not z2:
        return a
    zz1 = z1 * z1 % P
    zz2 = z2 * z2 % P
    u1 = x1 * zz2 % P
    s1 = y1 * z2 % P * zz2 % P
    h = (x2 * zz1 - u1) % P
    r = (y2 * z1 % P * zz1 - s1) % P
    if not h:
        return (1, 1, 0) if r else plain_double(a)
    hh = h * h % P
    hhh = hh * h % P
    v = u1 * hh % P
    x = (r * r - hhh - 2 * v) % P
    return x, (r * (v - x) - s1 * hhh) % P, z1 * z2 % P * h % P


def mixed_add(a, b):
    """The same for a second point whose Z is 1 (madd)."""
    x, y, z = a
    x2, y2, z2 = b
    if not z:
        return b
    if not z2:
        return a
    zz = z * z % P
    h = (x2 * zz - x) % P
    r = (zz * z % P * y2 - y) % P
    if not h:
        return (1, 1, 0) if r else plain_double(a)
    hh = h * h % P
    hhh = hh * h % P
    v = x * hh % P
    x = (r * r - hhh - 2 * v) % P
    return x, (r * (v - x) - y * hhh) % P, z * h % P


def affine(point):
    x, y, z = point
    z = inverse(z, P)
    zz = z * z % P
    return x * zz % P, y * zz % P * z % P, 1


def shamir(table, add, digest, r, s):
    w = inverse(s, N)
    u1 = int.from_bytes(digest, "big") * w % N
    u2 = r * w % N
    point = 1, 1, 0
    bit = 1 << 255
    while bit:
        point = plain_double(point)
        chosen = (1 if u1 & bit else 0) + (2 if u2 & bit else 0)
        if chosen:
            point = add(point, table[chosen])
        bit >>= 1
    return bool(point[2]) and affine(point)[0] % N == r


def plain_verify(q, digest, r, s):
    return shamir((None, G, q, plain_add(G, q)), plain_add, digest, r, s)


def mixed_verify(q, digest, r, s):
    return shamir((None, G, q, affine(plain_add(G, q))), mixed_add, digest, r, s)


def timed(call, *args):
    gc.collect()
    start = time.ticks_us()
    valid = call(*args)
    spent = time.ticks_diff(time.ticks_us(), start)
    if not valid:
        raise ValueError("a contestant is wrong")
    return spent


def board_verify(point, digest, r, s):
    return finish(p256.verify_steps(point, digest, r, s))


def longest_step(point, digest, r, s):
    longest, last = 0, time.ticks_us()
    for _ in p256.verify_steps(point, digest, r, s):
        now = time.ticks_us()
        longest, last = max(longest, time.ticks_diff(now, last)), now
    return longest


def forget():
    p256._last[0] = (None, b"")


def heap_of(point, digest, r, s):
    """(live bytes at most, seen between two steps; live bytes afterwards), above those before."""
    gc.collect()
    before = most = gc.mem_alloc()
    for _ in p256.verify_steps(point, digest, r, s):
        gc.collect()
        most = max(most, gc.mem_alloc())
    gc.collect()
    return most - before, gc.mem_alloc() - before


def secret_times():
    """Microseconds of what is done with a private key: medians of nine."""
    key = bytes(range(32))
    work = {
        "public key": lambda: finish(sign.public_key_steps(key)),
        "signature": lambda: finish(sign.sign_steps(key, key)),
        "certificate request": lambda: finish(csr.request_steps(key, "board-1")),
    }
    return {name: sorted([timed(call) for _ in range(9)])[4] for name, call in work.items()}


def main(rounds):
    signatures = []
    for line in sys.stdin:
        point, digest, r, s = [bytes.fromhex(part) for part in line.split()]
        q = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big"), 1
        r, s = int.from_bytes(r, "big"), int.from_bytes(s, "big")
        signatures.append((q, point, digest, r, s))
    times = []
    for _ in range(rounds):
        for q, point, digest, r, s in signatures:
            forget()
            plain = timed(plain_verify, q, digest, r, s)
            mixed = timed(mixed_verify, q, digest, r, s)
            new_key = timed(board_verify, point, digest, r, s)
            board_verify(point, digest, r, s)
            known_key = timed(board_verify, point, digest, r, s)
            times.append((plain, mixed, new_key, known_key))
    _, point, digest, r, s = signatures[0]
    forget()
    steps = longest_step(point, digest, r, s)
    forget()
    most, kept = heap_of(point, digest, r, s)
    report = {"times": times, "longest_step": steps, "heap_most": most, "heap_kept": kept}
    report.update({"heap_code": HEAP_CODE, "heap_left": HEAP_LEFT, "secret": secret_times()})
    print(json.dumps(report))


main(int(sys.argv[1]))
