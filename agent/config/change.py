# SPDX-License-Identifier: MIT
"""Takes a desired document, and puts what is valid of it in force, as a whole.

Invariants:
- a document older than the newest seen is ignored, unless its epoch is another; the same one
  again gives the same answer and changes nothing;
- a key that is refused keeps the value that it had; all others change in one write of a record;
- a change of a risky setting becomes a trial (`trial`);
- values that this release does not know, or finds invalid, stay on flash unread, for the release
  that does; they make room when the record is full.
"""

from agent.config import schema, stored, trial
from agent.config.settings import Settings
from agent.errors import AgentError, Refused
from agent.link import document

VERSIONS = 10_000_000_000  # a version is below that, so that a mark has its largest size
EPOCH = 16
_NAMED = 24  # refused names that a report tells; the others are counted
_LONGEST_NAME = 32
# The way home: checked where it is read, and nothing takes its place here if it is unusual.
_FLASHED = ("wifi", "broker")


def load(store, log, table, factory):
    """The settings, as a boot finds them. `factory`: {name: value} from the flashing tool."""
    base = {name: table[name][1] for name in table}
    for name in factory:
        if name in table and (
            name in _FLASHED or schema.check_value(table[name], factory[name]) is None
        ):
            base[name] = factory[name]
        else:
            log.error("config", "factory-conf " + name)
    settings = Settings(log, base, [n for n in table if table[n][5] & schema.SECRET])
    try:
        trial.end_at_boot(store)
    except AgentError as e:
        log.error("config", e.code)  # what is stored are the old settings in any case
    found = stored.load(store)
    stored.seen(settings, found)
    settings.values, unread = _split(table, found["c"])
    for name in unread:
        log.warning("config", "{} {}".format(unread[name], name))
    return settings


def unread(store, table):
    """{name: code} of what is stored, but not in force with this release."""
    return _split(table, stored.load(store)["c"])[1]


def _split(table, config):
    values, codes = {}, {}
    for name in config:
        code = schema.check(table, name, config[name])
        if code:
            codes[name] = code
        else:
            values[name] = config[name]
    return values, codes


def apply(store, settings, table, payload, uptime_s):
    """Applies a desired document (bytes of JSON): the report, or None when it is an old one.

    Refused when it is no such document, or has no room; StorageError when it could not be
    stored. Nothing has changed then.
    """
    epoch, version, config = _parse(payload)
    if epoch == settings.seen[0] and version < settings.seen[1]:
        return None
    values, codes = _split(table, config)
    if (epoch, version) != settings.seen:
        _change(store, settings, table, epoch, version, values, codes, uptime_s)
    return reported(settings, table, codes)


def _parse(payload):
    found = document.parse(payload, "settings-document")
    epoch, version, config = found.get("epoch"), found.get("version"), found.get("config")
    if (
        not isinstance(epoch, str)
        or len(epoch) > EPOCH
        or any([not " " <= c <= "~" or c in '"\\' for c in epoch])
        or not isinstance(version, int)
        or isinstance(version, bool)
        or not 0 <= version < VERSIONS
        or not isinstance(config, dict)
    ):
        raise Refused("settings-document")
    return epoch, version, config


def _change(store, settings, table, epoch, version, values, codes, uptime_s):
    old = stored.load(store)["c"]
    before = settings.trial.before if settings.trial else settings.values
    kept = {n: old[n] for n in old if n not in before and n not in values}
    for name in codes:
        if name in before:
            values[name] = before[name]
    values = {n: values[n] for n in values if values[n] != settings.base[n]}
    made = _document(epoch, version, values, kept)
    if any([_value(values, settings, n) != _value(before, settings, n) for n in _risky(table)]):
        until = uptime_s + _value(values, settings, "trial_s")
        trial.begin(store, settings, made, values, until)
        return
    trial.forget(store)
    stored.save(store, made)
    settings.trial = None
    stored.seen(settings, made)
    settings.use(values)


def _risky(table):
    return [name for name in table if table[name][5] & schema.RISKY]


def _value(values, settings, name):
    return values[name] if name in values else settings.base[name]


def _document(epoch, version, values, kept):
    """What goes to flash: with what is kept for other releases, if there is room for it."""
    config = dict(values)
    if not stored.fits(config):
        raise Refused("settings-size")
    for name in kept:
        config[name] = kept[name]
        if not stored.fits(config):
            del config[name]
    return {"v": version, "e": epoch, "c": config}


def reported(settings, table, codes):
    """The document of up/reported. `codes`: {name: code} of what is not in force.

    `config` has what is not the schema's default, a secret as None. It fits in a message however
    long the document was that it answers.
    """
    named = [name for name in sorted(codes) if len(name) <= _LONGEST_NAME][:_NAMED]
    values = {n: settings[n] for n in table if settings[n] != table[n][1]}
    secrets = [name for name in settings.secrets if name in values]
    for name in secrets:
        values[name] = None
    return {
        "version": settings.seen[1],
        "epoch": settings.seen[0],
        "trial": settings.trial is not None,
        "reverted": settings.reverted,
        "keys": {name: codes[name] for name in named},
        "more": len(codes) - len(named),
        "config": values,
        "secret": secrets,
    }
