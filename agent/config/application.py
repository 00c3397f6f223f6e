# SPDX-License-Identifier: MIT
"""An application's own settings, as it declares them in `settings.json` of its slot.

The slot's manifest covers that file, so it has been verified when it is read.
"""

import json

from agent.errors import AgentError
from agent.storage import files


def read(slot, log):
    """{name: words} for `schema.table`, or None where the application has none. `slot`: its
    folder."""
    try:
        data = files.read(slot + "/settings.json")
        found = json.loads(data) if data else None
    except (AgentError, ValueError):
        log.error("config", "settings-file")
        return None
    if found is not None and not isinstance(found, dict):
        log.error("config", "settings-file")
        return None
    return found
