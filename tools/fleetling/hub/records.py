# SPDX-License-Identifier: MIT
"""What boards say of their health, in the hub's database: heartbeats, events, crashes.

Invariants:
- the same event or crash twice is stored once: its key is what it says;
- of each device the newest are kept, so a board that talks much costs no more than another.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Index, String, Text, delete, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from fleetling.registry import Base, Store

__all__ = ["Message", "RecordRow", "Records"]

KINDS = {"up/health": "health", "up/event": "event", "up/crash": "crash"}
KEPT = {"health": 2000, "event": 1000, "crash": 50}
TRIM_EVERY = 100  # so many more than the limit may stand there before the oldest go
LISTED = 300
AHEAD = timedelta(hours=1)  # of clocks of several hubs, at most


class RecordRow(Base):
    """One message. `digest` is of its kind and text, `at` its arrival in UTC."""

    __tablename__ = "health_records"
    __table_args__ = (Index("health_by_time", "kind", "device_id", "at"),)

    device_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    at: Mapped[datetime]
    document: Mapped[str] = mapped_column(Text)


@dataclass(frozen=True)
class Message:
    """What a board has sent, checked: `kind` is one of KINDS' values, `at` Unix seconds."""

    device_id: str
    kind: str
    at: float
    document: Mapping[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.document, separators=(",", ":"), sort_keys=True)


class Records:
    """The table of a hub's database.

    Args:
        store: the database.
        kept: how many are kept of each kind and device; else KEPT.
    """

    def __init__(self, store: Store, kept: Mapping[str, int] | None = None) -> None:
        self._store = store
        self._kept = {**KEPT, **(kept or {})}
        self._added: Counter[tuple[str, str]] = Counter()
        try:
            self._make_table()
        except DBAPIError:
            self._make_table()  # another program was making it at this moment

    def _make_table(self) -> None:
        with self._store.session() as session:
            Base.metadata.create_all(session.connection())

    def add(self, messages: Sequence[Message]) -> int:
        """Stores messages in one transaction; how many were new."""
        rows = {}
        for message in messages:
            text = message.text
            digest = hashlib.sha256(f"{message.kind}\0{text}".encode()).hexdigest()[:32]
            rows[message.device_id, digest] = {
                "device_id": message.device_id,
                "digest": digest,
                "kind": message.kind,
                "at": datetime.fromtimestamp(message.at, UTC).replace(tzinfo=None),
                "document": text,
            }
        while rows:
            with self._store.session() as session:
                for key in self._known(session, list(rows)):
                    del rows[key]
            if not rows:
                return 0
            try:
                with self._store.session() as session:
                    session.execute(insert(RecordRow), list(rows.values()))
            except IntegrityError:
                continue  # another hub was faster with some of them
            break
        self._trim([(str(row["device_id"]), str(row["kind"])) for row in rows.values()])
        return len(rows)

    def _known(self, session: Session, keys: list[tuple[str, str]]) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for start in range(0, len(keys), LISTED):
            digests = [digest for _, digest in keys[start : start + LISTED]]
            query = select(RecordRow.device_id, RecordRow.digest).where(
                RecordRow.digest.in_(digests)
            )
            found |= {(row[0], row[1]) for row in session.execute(query)}
        return found & set(keys)

    def _trim(self, added: Iterable[tuple[str, str]]) -> None:
        added = Counter(added)
        # The first ones of this process, too: a hub that is started often never counts that far.
        due = [key for key in added if key not in self._added]
        self._added.update(added)
        due += [key for key, count in self._added.items() if count >= TRIM_EVERY]
        for key in dict.fromkeys(due):
            self._added[key] = 0
            self._trim_one(*key)

    def _trim_one(self, device_id: str, kind: str) -> None:
        mine = (RecordRow.device_id == device_id, RecordRow.kind == kind)
        beyond = (
            select(RecordRow.at)
            .where(*mine)
            .order_by(RecordRow.at.desc())
            .offset(self._kept[kind])
            .limit(1)
        )
        with self._store.session() as session:
            count = session.scalar(select(func.count()).where(*mine)) or 0
            if count <= self._kept[kind]:
                return
            # Those of a time when this machine's clock was ahead go first: until it gets there
            # they would be the newest, and nothing that comes would stay. No more of them than
            # have to go: it may as well be that the clock is behind now.
            ahead = (*mine, RecordRow.at > datetime.now(UTC).replace(tzinfo=None) + AHEAD)
            found = select(RecordRow.at).where(*ahead).order_by(RecordRow.at)
            going = list(session.scalars(found.limit(count - self._kept[kind])))
            if going:
                session.execute(delete(RecordRow).where(*ahead, RecordRow.at <= going[-1]))
            oldest = session.scalar(beyond)
            if oldest is not None:
                session.execute(delete(RecordRow).where(*mine, RecordRow.at <= oldest))

    def newest(
        self,
        kind: str,
        device_ids: Sequence[str] = (),
        *,
        since: float = 0.0,
        limit: int = 1000,
    ) -> list[Message]:
        """The newest messages of a kind, oldest first; of all devices, or of these."""
        begins = datetime.fromtimestamp(since, UTC).replace(tzinfo=None)
        query = select(RecordRow).where(RecordRow.kind == kind, RecordRow.at >= begins)
        if device_ids:
            query = query.where(RecordRow.device_id.in_(list(device_ids)))
        with self._store.session() as session:
            rows = session.scalars(query.order_by(RecordRow.at.desc()).limit(limit)).all()
        return [
            Message(
                row.device_id,
                kind,
                row.at.replace(tzinfo=UTC).timestamp(),
                json.loads(row.document),
            )
            for row in reversed(rows)
        ]
