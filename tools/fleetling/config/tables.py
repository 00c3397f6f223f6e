# SPDX-License-Identifier: MIT
"""The database's tables for settings, beside the hub's own. Documents are JSON, times UTC.

`config_layers` is only ever appended to; the row with the highest number of a scope is in force.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fleetling.registry import Base

__all__ = ["Epoch", "FactsRow", "GroupRow", "LayerRow", "PublishedRow", "TagRow"]


class LayerRow(Base):
    """A whole layer, as a change left it. Its key is what keeps two writers from losing one."""

    __tablename__ = "config_layers"

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    config: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)


class GroupRow(Base):
    __tablename__ = "config_groups"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    priority: Mapped[int]
    rule: Mapped[str] = mapped_column(Text)


class TagRow(Base):
    __tablename__ = "config_tags"

    device_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tag: Mapped[str] = mapped_column(String(64), primary_key=True)


class PublishedRow(Base):
    """The last document made for a device; `sent` once the broker has it."""

    __tablename__ = "config_published"

    device_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int]
    config: Mapped[str] = mapped_column(Text)
    sent: Mapped[bool]


class Epoch(Base):
    """One row, made with the database: boards tell by it that versions began again."""

    __tablename__ = "config_epoch"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[str] = mapped_column(String(16))


class FactsRow(Base):
    """The last documents that a device sent."""

    __tablename__ = "config_facts"

    device_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    birth: Mapped[str | None] = mapped_column(Text)
    schema: Mapped[str | None] = mapped_column(Text)
    reported: Mapped[str | None] = mapped_column(Text)
