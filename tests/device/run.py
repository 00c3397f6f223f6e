# SPDX-License-Identifier: MIT
"""Runs the test functions of one file on MicroPython, a line of JSON for each.

micropython tests/device/run.py tests/device/test_x.py [NAME ...]
"""

import asyncio
import io
import json
import sys


def main(path, names):
    folder, _, file = path.rpartition("/")
    sys.path.insert(0, folder)
    sys.path.insert(0, folder + "/../..")
    sys.path.insert(0, folder + "/../../tools/fleetling/simboard")
    module = __import__(file[:-3])
    for name in sorted(dir(module)):
        if not name.startswith("test_") or (names and name not in names):
            continue
        report = {"name": name, "error": None}
        try:
            result = getattr(module, name)()
            if hasattr(result, "send"):
                asyncio.run(result)
        except Exception as e:  # noqa: BLE001 - a test may fail with anything
            text = io.StringIO()
            sys.print_exception(e, text)
            report["error"] = text.getvalue()
        asyncio.new_event_loop()
        print("\n@test " + json.dumps(report))


main(sys.argv[1], sys.argv[2:])
