"""The specimen store: rows in versions, so that a build reads the store exactly as it was at one version.

A row version is valid from store version `v_from` up to but without `v_to` (null: still valid). "As of V" is
`v_from <= V AND (v_to IS NULL OR v_to > V)`; rows of recordsets hidden at V (`Hiding`) are left out.

The columns of index terms come from the table in `formats.terms`: `Term.column` is searched, `Term.shown` printed.
One btree per starred term covers all versions, open and closed: builds ask for either.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone

from downloads.formats import terms

LONGEST_INDEXED = 2000
"""Bytes of UTF-8; a longer value of a starred text term stays in `raw` only (a btree entry holds 2.7 KB)."""

_OWN_COLUMNS = frozenset({"uuid", "recordset_id", "lat"})


class Recordset(models.Model):
    """A provider's collection. Hiding one (`is_public` false) is a new data version; see `services`."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=500)
    institution_code = models.CharField(max_length=200, blank=True)
    licence = models.CharField(max_length=500, blank=True)
    citation = models.TextField(blank=True)
    contact = models.CharField(max_length=500, blank=True)
    eml = models.TextField(blank=True)
    source_url = models.CharField(max_length=2000, blank=True)
    is_public = models.BooleanField(default=True)
    record_count = models.PositiveBigIntegerField(default=0, editable=False)
    media_count = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    modified_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "uuid"]

    def __str__(self) -> str:
        return self.name


class StoreVersion(models.Model):
    """One published state of the store; numbers only grow. 0 is the empty store."""

    number = models.PositiveBigIntegerField(primary_key=True)
    reason = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)
    pruned = models.BooleanField(default=False)

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return str(self.number)


class Hiding(models.Model):
    """A span of store versions in which a recordset's rows are left out."""

    recordset = models.ForeignKey(Recordset, on_delete=models.CASCADE, related_name="hidings")
    v_from = models.PositiveBigIntegerField()
    v_to = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["v_from", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["recordset"], condition=models.Q(v_to=None), name="downloads_hiding_one_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.recordset_id} from {self.v_from}"


class RawColumnSet(models.Model):
    """The provider terms that make the columns of a raw file, ASCII-sorted, from one store version on."""

    class Kind(models.TextChoices):
        RECORDS = "records"
        MEDIA = "media"

    kind = models.CharField(max_length=7, choices=Kind.choices)
    version = models.PositiveBigIntegerField()
    names = ArrayField(models.TextField())

    class Meta:
        ordering = ["kind", "-version"]
        constraints = [models.UniqueConstraint(fields=["kind", "version"], name="downloads_raw_columns_version")]

    def __str__(self) -> str:
        return f"{self.kind} from {self.version}"


def _field(term: terms.Term) -> models.Field[Any, Any]:
    """The searched column of a term."""
    match term.kind:
        case "float" | "point":
            return models.FloatField(null=True)
        case "int":
            return models.BigIntegerField(null=True)
        case "bool":
            return models.BooleanField(null=True)
        case "date":
            return models.DateTimeField(null=True)
        case "list":
            return ArrayField(models.TextField(db_collation="C"), null=True)
        case _:
            return models.TextField(null=True, db_collation="C")


def _shown_field(term: terms.Term) -> models.Field[Any, Any]:
    """The printed column of a term whose print differs from what is searched."""
    if term.kind == "list":
        return ArrayField(models.TextField(), null=True)
    return models.TextField(null=True)


def term_fields(table: tuple[terms.Term, ...]) -> dict[str, models.Field[Any, Any]]:
    """Column name → field for every term that has columns of its own."""
    fields: dict[str, models.Field[Any, Any]] = {}
    for term in table:
        if term.column not in _OWN_COLUMNS:
            fields[term.column] = _field(term)
        if term.shown != term.column:
            fields[term.shown] = _shown_field(term)
    return fields


def _term_indexes(prefix: str, table: tuple[terms.Term, ...]) -> list[models.Index]:
    indexes: list[models.Index] = [
        models.Index(fields=[term.column], name=f"{prefix}_{term.name.lower()}"[:30])
        for term in table
        if term.indexed and term.column not in _OWN_COLUMNS
    ]
    lists = [term.column for term in table if term.kind == "list"]
    return [*indexes, GinIndex(fields=lists, name=f"{prefix}_lists")]


class Version(models.Model):
    """What record and media versions share. Columns read by every build come first: rows are unpacked left to right.

    `line_index` and `line_raw` are the row's finished CSV lines without the id column: they begin with a comma and end
    with CRLF. `line_raw` has the columns of the raw column set of `line_version`.
    """

    id = models.BigAutoField(primary_key=True)
    v_from = models.PositiveBigIntegerField()
    v_to = models.PositiveBigIntegerField(null=True)
    uuid = models.UUIDField()
    line_version = models.PositiveBigIntegerField()
    line_index = models.TextField()
    line_raw = models.TextField()
    etag = models.CharField(max_length=40)
    words = models.TextField()
    raw = models.JSONField()

    class Meta:
        abstract = True
        ordering = ["uuid", "v_from"]

    def __str__(self) -> str:
        return str(self.uuid)


def _version_constraints(name: str) -> list[models.BaseConstraint]:
    return [
        models.UniqueConstraint(fields=["uuid", "v_from"], name=f"downloads_{name}_version"),
        models.UniqueConstraint(fields=["uuid"], condition=models.Q(v_to=None), name=f"downloads_{name}_open"),
    ]


def _version_indexes(name: str, table: tuple[terms.Term, ...]) -> list[models.Index]:
    return [
        models.Index(fields=["recordset", "uuid", "v_from", "v_to"], name=f"downloads_{name}_set"),
        models.Index(fields=["line_version"], name=f"downloads_{name}_line"),
        models.Index(fields=["v_to"], condition=models.Q(v_to__isnull=False), name=f"downloads_{name}_closed"),
        *_term_indexes(f"dl_{name[:3]}", table),
    ]


class Record(Version):
    """One version of a specimen record."""

    recordset = models.ForeignKey(Recordset, on_delete=models.PROTECT, related_name="records", db_index=False)
    lat = models.FloatField(null=True)
    lon = models.FloatField(null=True)

    class Meta(Version.Meta):
        constraints = _version_constraints("record")
        indexes = [
            *_version_indexes("record", terms.RECORD_TERMS),
            models.Index(fields=["lat", "lon"], name="downloads_record_place"),
            models.Index(fields=["t_startdayofyear"], name="downloads_record_day"),
        ]


class MediaRecord(Version):
    """One version of a media record."""

    recordset = models.ForeignKey(Recordset, on_delete=models.PROTECT, related_name="media", db_index=False)

    class Meta(Version.Meta):
        constraints = _version_constraints("media")
        indexes = _version_indexes("media", terms.MEDIA_TERMS)


for _name, _each in term_fields(terms.RECORD_TERMS).items():
    Record.add_to_class(_name, _each)
for _name, _each in term_fields(terms.MEDIA_TERMS).items():
    MediaRecord.add_to_class(_name, _each)


class RecordMedia(models.Model):
    """A media record shows a specimen. `position` gives the link order, from both ends."""

    record = models.UUIDField()
    media = models.UUIDField()
    position = models.PositiveBigIntegerField()
    v_from = models.PositiveBigIntegerField()
    v_to = models.PositiveBigIntegerField(null=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["record", "media"], condition=models.Q(v_to=None), name="downloads_link_one_open"
            )
        ]
        indexes = [
            models.Index(fields=["media", "position", "record"], name="downloads_link_media"),
            models.Index(fields=["record", "position", "media"], name="downloads_link_record"),
        ]

    def __str__(self) -> str:
        return f"{self.record} {self.media}"


class Identifier(models.Model):
    """A provider's identifier, lower-cased, and the uuid it means for ever."""

    text = models.TextField(primary_key=True, db_collation="C")
    uuid = models.UUIDField(db_index=True)

    class Meta:
        ordering = ["text"]

    def __str__(self) -> str:
        return self.text
