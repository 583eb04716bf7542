"""Concepts and mappings, their immutable versions, the finished JSON of each, and what each version holds."""

import uuid

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q

from exports.models import fields
from exports.models.repos import Repo, RepoVersion


class Fragment(models.Model):
    """Finished JSON of one row version, as the export holds it. Immutable: a changed value of the moment makes a new
    fragment, and frozen versions keep theirs."""

    #: LZ4 where the server has it (the migration asks): read back four times faster than PostgreSQL's own
    body = models.TextField()
    length = models.IntegerField()
    sha256 = models.BinaryField(max_length=32)
    #: the concept or mapping version it shows
    row = models.BigIntegerField()
    #: when a newer fragment took its place; unheld ones are swept a day later
    replaced_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(
                fields=("replaced_at",), condition=Q(replaced_at__isnull=False), name="exports_fragment_replaced"
            ),
        )

    def __str__(self) -> str:
        return f"fragment {self.pk}, {self.length} bytes"


class Row(models.Model):
    """A concept or a mapping: what stays the same over its versions."""

    mnemonic = models.CharField(max_length=255)
    uri = models.TextField(unique=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.uri


class RowVersion(models.Model):
    """What versions of concepts and of mappings have in common."""

    fragment = models.ForeignKey(Fragment, on_delete=models.PROTECT, related_name="+")
    uuid = models.CharField(max_length=36)
    version = models.CharField(max_length=100)
    previous = models.CharField(max_length=100, null=True)
    is_latest = models.BooleanField()
    retired = models.BooleanField()
    external_id = models.TextField(null=True)
    extras = fields.JsonText(null=True)
    update_comment = models.TextField(null=True)
    retire_reason = models.TextField(null=True)
    updated_at = models.DateTimeField()
    updated_by = models.CharField(max_length=150)
    standard = models.CharField(max_length=64)
    smart = models.CharField(max_length=64)
    digest = models.CharField(max_length=32)
    #: values of an imported document that cannot be worked out here
    kept = fields.JsonText(null=True)
    #: order among rows of the same instant: the row id, or minus the line of the file it was imported from
    rank = models.BigIntegerField()
    #: lower-case id and names, for ``q``
    search = models.TextField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.version}"


class Concept(Row):
    source = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="concepts")
    #: of the latest version; mappings show it
    display_name = models.TextField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("source", "mnemonic"), name="exports_concept_unique"),)


class ConceptVersion(RowVersion):
    concept = models.ForeignKey(Concept, on_delete=models.CASCADE, related_name="versions")
    source = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="+", db_index=False)
    concept_class = models.TextField()
    datatype = models.TextField()
    display_name = models.TextField(null=True)
    display_locale = models.TextField(null=True)
    names = fields.JsonText()
    descriptions = fields.JsonText()
    parents = fields.JsonText()
    author = models.CharField(max_length=150)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("concept", "version"), name="exports_cv_unique"),
            models.UniqueConstraint(fields=("concept",), condition=Q(is_latest=True), name="exports_cv_one_latest"),
        )
        indexes = (
            models.Index(
                "source", F("updated_at").desc(), F("rank").desc(), condition=Q(is_latest=True), name="exports_cv_head"
            ),
            GinIndex(OpClass(F("search"), "gin_trgm_ops"), condition=Q(is_latest=True), name="exports_cv_search"),
        )


class ConceptEdge(models.Model):
    """Which concept names which URL as a parent in its latest version; the parent may come later."""

    child = models.ForeignKey(Concept, on_delete=models.CASCADE, related_name="+")
    parent_uri = models.TextField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("child", "parent_uri"), name="exports_edge_unique"),)

    def __str__(self) -> str:
        return f"{self.child} under {self.parent_uri}"


class Mapping(Row):
    source = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="mappings")
    #: the ends, when they are stored here
    from_concept = models.ForeignKey(Concept, null=True, on_delete=models.SET_NULL, related_name="mappings_from")
    to_concept = models.ForeignKey(Concept, null=True, on_delete=models.SET_NULL, related_name="mappings_to")
    from_uri = models.TextField(db_index=True)
    to_uri = models.TextField(null=True, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("source", "mnemonic"), name="exports_mapping_unique"),)


class MappingVersion(RowVersion):
    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="versions")
    source = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="+", db_index=False)
    map_type = models.TextField()
    from_url = models.TextField()
    from_name = models.TextField(null=True)
    from_source_version = models.TextField(null=True)
    to_url = models.TextField(null=True)
    to_source_url = models.TextField(null=True)
    to_code = models.TextField(null=True)
    to_name = models.TextField(null=True)
    to_source_version = models.TextField(null=True)
    sort_weight = models.FloatField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("mapping", "version"), name="exports_mv_unique"),
            models.UniqueConstraint(fields=("mapping",), condition=Q(is_latest=True), name="exports_mv_one_latest"),
        )
        indexes = (
            models.Index(
                "source", F("updated_at").desc(), F("rank").desc(), condition=Q(is_latest=True), name="exports_mv_head"
            ),
            GinIndex(OpClass(F("search"), "gin_trgm_ops"), condition=Q(is_latest=True), name="exports_mv_search"),
        )


class Held(models.Model):
    """One line of a frozen version: which row version, in which finished form, at which place."""

    pk = models.CompositePrimaryKey("version_id", "position")
    version = models.ForeignKey(RepoVersion, on_delete=models.CASCADE, related_name="+", db_index=False)
    position = models.IntegerField()
    fragment = models.ForeignKey(Fragment, on_delete=models.PROTECT, related_name="+", db_index=False)
    retired = models.BooleanField()
    updated_at = models.DateTimeField()
    #: since when the row belongs to the repository; in a source, the row's own time
    since = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.version_id}:{self.position}"


class VersionConcept(Held):
    row = models.ForeignKey(ConceptVersion, on_delete=models.PROTECT, related_name="held_by", db_index=False)

    class Meta:
        indexes = (
            models.Index(fields=("row", "version"), name="exports_vc_row"),
            models.Index(fields=("version", "updated_at"), name="exports_vc_updated"),
        )


class VersionMapping(Held):
    row = models.ForeignKey(MappingVersion, on_delete=models.PROTECT, related_name="held_by", db_index=False)

    class Meta:
        indexes = (
            models.Index(fields=("row", "version"), name="exports_vm_row"),
            models.Index(fields=("version", "updated_at"), name="exports_vm_updated"),
        )


class CollectionReference(models.Model):
    collection = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="references")
    expression = models.TextField()
    uuid = models.CharField(max_length=36, default=uuid.uuid4)
    cascade = models.CharField(max_length=20, null=True)
    concepts = models.IntegerField(default=0)
    mappings = models.IntegerField(default=0)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    resolved_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints = (models.UniqueConstraint(fields=("collection", "expression"), name="exports_reference_unique"),)

    def __str__(self) -> str:
        return self.expression


class VersionReference(models.Model):
    """A reference as it was when the version was cut."""

    pk = models.CompositePrimaryKey("version_id", "position")
    version = models.ForeignKey(RepoVersion, on_delete=models.CASCADE, related_name="+", db_index=False)
    position = models.IntegerField()
    body = models.TextField()
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.version_id}:{self.position}"


class Departure(models.Model):
    """Something that left a repository's HEAD, as it was last shown there."""

    repo = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="+", db_index=False)
    #: concepts | mappings | references
    kind = models.CharField(max_length=10)
    #: URL of the row, or the reference's expression
    what = models.TextField()
    #: a row's finished JSON; the sweep leaves it alone
    fragment = models.ForeignKey(Fragment, null=True, on_delete=models.PROTECT, related_name="+")
    #: a reference's
    body = models.TextField(null=True)
    left_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(fragment__isnull=True) ^ Q(body__isnull=True), name="exports_departure_one_form"
            ),
        )
        indexes = (models.Index(fields=("repo", "kind", "left_at"), name="exports_departure_left"),)

    def __str__(self) -> str:
        return f"{self.what} left {self.repo_id}"


class HeadMember(models.Model):
    """What a collection holds now. Without a pin the member follows the latest version of its row."""

    collection = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="members")
    concept = models.ForeignKey(Concept, null=True, on_delete=models.CASCADE, related_name="memberships")
    mapping = models.ForeignKey(Mapping, null=True, on_delete=models.CASCADE, related_name="memberships")
    concept_version = models.ForeignKey(ConceptVersion, null=True, on_delete=models.CASCADE, related_name="+")
    mapping_version = models.ForeignKey(MappingVersion, null=True, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(concept__isnull=True) ^ Q(mapping__isnull=True), name="exports_member_one_row"
            ),
            models.UniqueConstraint(fields=("collection", "concept"), name="exports_member_concept_unique"),
            models.UniqueConstraint(fields=("collection", "mapping"), name="exports_member_mapping_unique"),
        )

    def __str__(self) -> str:
        return f"member {self.pk} of {self.collection_id}"
