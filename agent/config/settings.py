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

    def on_change(self, names, call, own=False):
        """`call()` runs after a change to one of `names`; `own`: it is the application's."""
        self._listeners.append((names, call, own))

    def forget(self):
        """The application has ended: nothing of it is called, or kept, any more."""
        self._listeners = [each for each in self._listeners if not each[2]]

    def overdue(self, uptime_s):
        """Whether a trial has to be undone now."""
        return self.trial is not None and uptime_s >= self.trial.until

    def use(self, values):
        """From now on `values` are what is set; tells whom it concerns."""
        before, self.values = self.values, values
        changed = [n for n in self.base if before.get(n, self.base[n]) != self[n]]
        for names, call, _ in self._listeners:
            if not any([name in names for name in changed]):
                continue
            try:
                call()
            except Exception as e:  # noqa: BLE001 - an application's fault stops nobody else
                self._log.error("config", "listener {}".format(type(e).__name__))


class OfApplication:
    """Settings as the application reads them: its own by their names, else the agent's."""

    def __init__(self, settings):
        self._settings = settings

    def _full(self, name):
        own = "app." + name
        return own if own in self._settings.base else name

    def __getitem__(self, name):
        return self._settings[self._full(name)]

    def on_change(self, names, call):
        """`call()` runs after each change that touches one of `names`."""
        self._settings.on_change([self._full(name) for name in names], call, True)
