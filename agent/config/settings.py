# SPDX-License-Identifier: MIT
"""The settings as the rest of the agent reads them: the base, and what was set above it.

Knows neither types nor flash: what arrives here has been checked and stored by `change` and
`trial`, which are loaded for that. `base` has every setting: the schema's default, or what the
flashing tool gave.
"""


class Settings:
    """`secrets`: names of the settings that are never reported."""

    def __init__(self, log, base, secrets):
        self._log = log
        self.base = base
        self.secrets = secrets
        self.values = {}  # what is set above the base
        self.seen = ("", -1)  # (epoch, version) of the newest document
        self.reverted = False  # whether that document was tried and undone
        self.trial = None  # `trial.Trial` while there is one
        self._listeners = []

    def __getitem__(self, name):
        return self.values[name] if name in self.values else self.base[name]

    def get(self, name, default=None):
        return self.values.get(name, self.base.get(name, default))

    def public(self):
        """{name: value} of all that may be reported; a secret is None."""
        return {name: None if name in self.secrets else self[name] for name in self.base}

    def on_change(self, names, call):
        """`call()` runs after each change that touches one of `names`."""
        self._listeners.append((names, call))

    def overdue(self, uptime_s):
        """Whether a trial has to be undone now."""
        return self.trial is not None and uptime_s >= self.trial.until

    def use(self, values):
        """From now on `values` are what is set; tells whom it concerns."""
        before, self.values = self.values, values
        changed = [n for n in self.base if before.get(n, self.base[n]) != self[n]]
        for names, call in self._listeners:
            if not any([name in names for name in changed]):
                continue
            try:
                call()
            except Exception as e:  # noqa: BLE001 - an application's fault stops nobody else
                self._log.error("config", "listener {}".format(type(e).__name__))
