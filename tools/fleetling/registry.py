# SPDX-License-Identifier: MIT
"""The registry of devices: which may enrol, and the certificates that were signed.

SQLite by default, PostgreSQL by URL. Several hubs may work on one database: what must happen once
is guarded by the database's own constraints, not by this process.

Invariants:
- a key stands in at most one certificate, for ever;
- a request stands in at most one certificate, so a repeated request gets the same answer;
- a device's enrolments are counted down in the database, in the same transaction as the
  certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from sqlalchemy import ForeignKey, LargeBinary, String, create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from fleetling.errors import FleetlingError

__all__ = ["Certificate", "Device", "Store"]


ATTEMPTS = 10


class Base(DeclarativeBase):
    pass


class Device(Base):
    """A device that may come, or has come."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    added_at: Mapped[datetime]
    enrolments_left: Mapped[int]
    revoked_at: Mapped[datetime | None]
    certificates: Mapped[list[Certificate]] = relationship(
        back_populates="device", order_by="Certificate.signed_at"
    )

    @property
    def current(self) -> Certificate | None:
        """The certificate in force: the newest that is not revoked."""
        valid = [made for made in self.certificates if made.revoked_at is None]
        return valid[-1] if valid else None

    @property
    def status(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "enrolled" if self.current else "expected"


class Certificate(Base):
    __tablename__ = "certificates"

    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    request: Mapped[str] = mapped_column(String(64), unique=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    der: Mapped[bytes] = mapped_column(LargeBinary)
    signed_at: Mapped[datetime]
    not_after: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    device: Mapped[Device] = relationship(back_populates="certificates")


def _now() -> datetime:
    # Without a zone, as SQLite gives it back; all times in the database are UTC.
    return datetime.now(UTC).replace(tzinfo=None)


class Store:
    """The hub's database.

    Args:
        url: an SQLAlchemy URL, `sqlite:///path` or `postgresql+psycopg://...`.

    Raises:
        FleetlingError: the URL is not one, or the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = create_engine(url)
            if self._engine.dialect.name == "sqlite":
                event.listen(self._engine, "connect", _sqlite_settings)
            self._make_tables()
        except (ArgumentError, ImportError) as e:
            raise FleetlingError(
                f"Not a database that can be used here: {e}",
                "Give sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME "
                "(pip install 'fleetling[postgresql]').",
            ) from e
        except DatabaseError as e:
            shown = make_url(url).render_as_string(hide_password=True)
            raise FleetlingError(
                f"The database {shown} does not answer: {e.orig}",
                "Is it running, whole, and may you use it?",
            ) from e

    def _make_tables(self) -> None:
        self._engine.connect().close()  # one that does not answer, or is locked, is asked once
        for _ in range(ATTEMPTS):
            # Another program may be making them at this moment.
            with suppress(DatabaseError):
                return Base.metadata.create_all(self._engine)
        return Base.metadata.create_all(self._engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back by an exception."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def expect(self, device_ids: Iterable[str]) -> int:
        """Lets devices enrol once each; those that are known stay as they are. How many are
        new."""
        wanted = list(device_ids)
        for _ in range(ATTEMPTS):
            with suppress(IntegrityError):  # another program was faster with one of them
                return self._expect(wanted)
        return self._expect(wanted)

    def _expect(self, device_ids: list[str]) -> int:
        added = 0
        with self.session() as session:
            for device_id in device_ids:
                if session.get(Device, device_id) is None:
                    session.add(Device(id=device_id, added_at=_now(), enrolments_left=1))
                    added += 1
        return added

    def allow_again(self, device_id: str) -> None:
        """Lets a known device enrol once more, with a new key, also one that was revoked.

        The certificates that it has stay as they are: its board may go on until the new one comes.
        """
        with self.session() as session:
            device = _known(session, device_id)
            device.enrolments_left = 1
            device.revoked_at = None

    def revoke(self, device_id: str) -> int:
        """Revokes a device and all its certificates; how many certificates that were."""
        with self.session() as session:
            device = _known(session, device_id, lock=True)
            device.revoked_at = device.revoked_at or _now()
            device.enrolments_left = 0
            session.flush()
            valid = [made for made in device.certificates if made.revoked_at is None]
            for made in valid:
                made.revoked_at = _now()
            return len(valid)

    def device(self, device_id: str) -> Device:
        """A device with its certificates.

        Raises:
            FleetlingError: it is not known.
        """
        with self.session() as session:
            device = _known(session, device_id)
            _ = device.certificates
            return device

    def devices(self) -> list[Device]:
        """All devices by id, each with its certificates."""
        with self.session() as session:
            found = list(session.scalars(select(Device).order_by(Device.id)))
            for device in found:
                _ = device.certificates
            return found

    def revoked(self) -> list[Certificate]:
        """Certificates for the revocation list."""
        query = select(Certificate).where(Certificate.revoked_at.is_not(None))
        with self.session() as session:
            return list(session.scalars(query.order_by(Certificate.serial)))

    def answered(self, request: str) -> Certificate | None:
        """The certificate that a request got before, if it did."""
        with self.session() as session:
            return session.scalar(select(Certificate).where(Certificate.request == request))

    def key_seen(self, key_hash: str) -> bool:
        with self.session() as session:
            query = select(Certificate.serial).where(Certificate.key_hash == key_hash)
            return session.scalar(query) is not None

    def keep(self, certificate: Certificate, *, counts: bool) -> bool:
        """Stores a new certificate in one transaction.

        Args:
            certificate: the row; `signed_at` is filled in here.
            counts: whether it uses up one of the device's enrolments (a renewal does not).

        Returns:
            False when the device was revoked or has no enrolment left, or when another hub was
            faster with this request or key; nothing is stored then.
        """
        certificate.signed_at = _now()
        try:
            with self.session() as session:
                # It locks the device's row, so that a revocation comes before it or after it.
                allowed = update(Device).where(
                    Device.id == certificate.device_id, Device.revoked_at.is_(None)
                )
                if counts:
                    allowed = allowed.where(Device.enrolments_left > 0)
                taken = session.execute(
                    allowed.values(enrolments_left=Device.enrolments_left - int(counts))
                )
                if taken.rowcount != 1:  # type: ignore[attr-defined]
                    return False
                session.add(certificate)
        except IntegrityError:
            return False
        return True


def _known(session: Session, device_id: str, *, lock: bool = False) -> Device:
    device = session.get(Device, device_id, with_for_update=lock or None)
    if device is None:
        raise FleetlingError(
            f"No device {device_id!r} is known", "`fleetling device list` shows those that are."
        )
    return device


def _sqlite_settings(connection: object, record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA busy_timeout=10000")  # first: the next one waits for its turn as well
    # A write-ahead log lets the command line read while a hub writes.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
