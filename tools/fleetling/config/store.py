# SPDX-License-Identifier: MIT
"""Settings in the hub's database.

Invariants:
- a layer is changed by a new row whose number follows that of the row that was read; two writers
  that read the same row cannot both write, and the slower one is told (`Conflict`);
- a device's versions count up by one for each document, whoever makes it;
- a lost database begins with another epoch, so boards take its documents though they count anew.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from fleetling.config.layers import Group, Layer, Layers, Scope
from fleetling.config.reconcile import Facts, Published, State
from fleetling.config.tables import (
    Epoch,
    FactsRow,
    GroupRow,
    LayerRow,
    PublishedRow,
    TagRow,
)
from fleetling.errors import FleetlingError
from fleetling.fleet.state import read
from fleetling.registry import Base, Device, Store

__all__ = ["ConfigStore", "Conflict", "Revision"]

# More devices than this are not listed in a query: it reads all.
LISTED = 500
Row = TypeVar("Row", PublishedRow, TagRow, FactsRow)

DOCUMENTS = ("birth", "schema", "reported")


class Conflict(Exception):
    """Somebody else has written in between; nothing was stored. Read again, and try again."""


@dataclass(frozen=True)
class Revision:
    """One change of a layer: who, when, and the layer before and after it."""

    scope: Scope
    number: int
    at: datetime
    by: str
    note: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class ConfigStore:
    """Settings in a hub's database; its tables are made when they are missing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        try:
            self._make_tables()
        except DBAPIError:
            self._make_tables()  # another program was making them at this moment
        self.epoch = self._epoch()

    def _make_tables(self) -> None:
        with self._store.session() as session:
            Base.metadata.create_all(session.connection())

    def _epoch(self) -> str:
        for _ in range(2):
            with self._store.session() as session:
                row = session.get(Epoch, 1)
                if row is not None:
                    return row.epoch
            try:
                with self._store.session() as session:
                    session.add(Epoch(number=1, epoch=secrets.token_hex(6)))
            except IntegrityError:
                continue  # another program has made it: read that one
        with self._store.session() as session:
            return session.scalars(select(Epoch)).one().epoch

    def known(self) -> set[str]:
        """Ids of all devices that the hub's list has, or that have ever spoken."""
        with self._store.session() as session:
            found = set(session.scalars(select(Device.id)))
            return found | set(session.scalars(select(FactsRow.device_id)))

    def concerned(self) -> set[str]:
        """Those that settings of groups and the fleet are for: known, and not revoked. What a
        revoked board has last said of its settings would hold up the others for ever."""
        with self._store.session() as session:
            revoked = select(Device.id).where(Device.revoked_at.is_not(None))
            gone = set(session.scalars(revoked))
        return self.known() - gone

    def state(self, only: Collection[str] | None = None) -> State:
        """All of it, as one moment has it; with `only`, of the devices just these."""
        some = only if only is not None and len(only) <= LISTED else None
        with self._store.session() as session:
            return State(
                layers=Layers({layer.scope: layer for layer in _layers(session)}),
                groups={
                    row.name: Group(row.name, row.rule, row.priority)
                    for row in session.scalars(select(GroupRow))
                },
                facts=_facts(session, some),
                published={
                    row.device_id: Published(row.version, json.loads(row.config), row.sent)
                    for row in _of(session, PublishedRow, some)
                },
            )

    def change(self, layers: Iterable[Layer], *, by: str, note: str = "") -> None:
        """Puts layers in force, all or none. Each has the number of the row that was read.

        Raises:
            Conflict: one of them was changed in between.
        """
        try:
            with self._store.session() as session:
                for layer in layers:
                    newest = session.scalar(
                        select(func.max(LayerRow.number)).where(
                            LayerRow.kind == layer.scope.kind, LayerRow.name == layer.scope.name
                        )
                    )
                    if (newest or 0) != layer.number:
                        raise Conflict
                    session.add(
                        LayerRow(
                            kind=layer.scope.kind,
                            name=layer.scope.name,
                            number=layer.number + 1,
                            config=json.dumps(layer.config),
                            at=datetime.now(UTC).replace(tzinfo=None),
                            by=by[:64],
                            note=note,
                        )
                    )
        except IntegrityError as e:
            raise Conflict from e
        except OperationalError as e:
            # SQLite: a transaction that has read cannot write once another has written.
            if "locked" in str(e.orig):
                raise Conflict from e
            raise

    def history(self, scopes: Iterable[Scope]) -> list[Revision]:
        """The changes of some layers, the newest first."""
        made = []
        with self._store.session() as session:
            for scope in scopes:
                query = select(LayerRow).where(
                    LayerRow.kind == scope.kind, LayerRow.name == scope.name
                )
                before: dict[str, Any] = {}
                for row in session.scalars(query.order_by(LayerRow.number)):
                    after = json.loads(row.config)
                    made.append(
                        Revision(scope, row.number, row.at, row.by, row.note, before, after)
                    )
                    before = after
        return sorted(made, key=lambda revision: (revision.at, revision.number), reverse=True)

    def set_group(self, group: Group) -> None:
        with self._store.session() as session:
            session.merge(GroupRow(name=group.name, rule=group.rule, priority=group.priority))

    def delete_group(self, name: str) -> None:
        with self._store.session() as session:
            session.execute(delete(GroupRow).where(GroupRow.name == name))

    def tag(self, device_id: str, add: Iterable[str], remove: Iterable[str]) -> list[str]:
        """Changes a device's tags; those that it has then."""
        with self._store.session() as session:
            for tag in add:
                session.merge(TagRow(device_id=device_id, tag=tag))
            for tag in remove:
                session.execute(
                    delete(TagRow).where(TagRow.device_id == device_id, TagRow.tag == tag)
                )
            session.flush()
            query = select(TagRow.tag).where(TagRow.device_id == device_id)
            return sorted(session.scalars(query))

    def learn(self, found: Mapping[str, Mapping[str, str]]) -> None:
        """Keeps what devices said. `found`: {id: {"birth", "schema" or "reported": JSON}}."""
        with self._store.session() as session:
            for device_id, documents in sorted(found.items()):
                row = session.get(FactsRow, device_id)
                if row is None:
                    row = FactsRow(device_id=device_id)
                    session.add(row)
                for name in DOCUMENTS:
                    if name in documents:
                        setattr(row, name, documents[name])

    def make(self, device_id: str, config: Mapping[str, Any]) -> Published:
        """The document that has this config: the last one, or a new one with the next version.

        It counts as not sent.
        """
        for _ in range(20):
            try:
                return self._make(device_id, config)
            except IntegrityError:
                continue
        raise Conflict

    def _make(self, device_id: str, config: Mapping[str, Any]) -> Published:
        with self._store.session() as session:
            row = session.get(PublishedRow, device_id)
            if row is None:
                session.execute(
                    insert(PublishedRow).values(
                        device_id=device_id, version=1, config=json.dumps(config), sent=False
                    )
                )
                return Published(1, dict(config), sent=False)
            version = row.version + (json.loads(row.config) != dict(config))
            taken = session.execute(
                update(PublishedRow)
                .where(PublishedRow.device_id == device_id, PublishedRow.version == row.version)
                .values(version=version, config=json.dumps(config), sent=False)
                .execution_options(synchronize_session=False)
            )
            if taken.rowcount != 1:  # type: ignore[attr-defined]
                raise IntegrityError("version", None, Exception("another was faster"))
            return Published(version, dict(config), sent=False)

    def published(self, device_id: str) -> Published | None:
        with self._store.session() as session:
            row = session.get(PublishedRow, device_id)
            return Published(row.version, json.loads(row.config), row.sent) if row else None

    def sent(self, device_id: str, version: int) -> bool:
        """Notes that the broker has a version; False when there is a newer one by now."""
        with self._store.session() as session:
            done = session.execute(
                update(PublishedRow)
                .where(PublishedRow.device_id == device_id, PublishedRow.version == version)
                .values(sent=True)
            )
            return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def _layers(session: Session) -> list[Layer]:
    newest = (
        select(LayerRow.kind, LayerRow.name, func.max(LayerRow.number).label("number"))
        .group_by(LayerRow.kind, LayerRow.name)
        .subquery()
    )
    query = select(LayerRow).join(
        newest,
        (LayerRow.kind == newest.c.kind)
        & (LayerRow.name == newest.c.name)
        & (LayerRow.number == newest.c.number),
    )
    return [
        Layer(Scope(row.kind, row.name), json.loads(row.config), row.number)
        for row in session.scalars(query)
    ]


def _of(session: Session, table: type[Row], only: Collection[str] | None) -> Sequence[Row]:
    query = select(table)
    if only is not None:
        query = query.where(table.device_id.in_(only))
    return session.scalars(query).all()


def _facts(session: Session, only: Collection[str] | None) -> dict[str, Facts]:
    tags: dict[str, set[str]] = {}
    for tag in _of(session, TagRow, only):
        tags.setdefault(tag.device_id, set()).add(tag.tag)
    found = {
        row.device_id: Facts(
            row.device_id,
            json.loads(row.birth or "{}"),
            json.loads(row.schema)["settings"] if row.schema else None,
            json.loads(row.reported or "{}"),
            frozenset(tags.pop(row.device_id, ())),
        )
        for row in _of(session, FactsRow, only)
    }
    for device_id, names in tags.items():
        found[device_id] = Facts(device_id, tags=frozenset(names))
    return found


def checked(name: str, payload: bytes) -> str | None:
    """The JSON of a document that a device sent, None when it is malformed."""
    found = read(payload)
    if found is None:
        return None
    if name == "schema" and not isinstance(found.get("settings"), dict):
        return None
    return json.dumps(found)


def must_know(known: Iterable[str], device_ids: Iterable[str]) -> None:
    """Raises FleetlingError for the first id that nobody knows."""
    known = set(known)
    for device_id in device_ids:
        if device_id not in known:
            raise FleetlingError(
                f"No device {device_id!r} is known",
                "`fleetling device list` shows those that are.",
            )
