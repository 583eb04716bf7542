"""What can be asked of the registry: harvests, records, runs, folders, and who may do what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import BooleanField, Case, Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.utils import timezone

from core import errors
from core import jobs as core_jobs
from core.models import ApiToken, EmailAddress, Job, User
from registry.formats import report
from registry.models import (
    Account,
    Harvest,
    HarvestRun,
    Organization,
    Record,
    RunChange,
    RunIssue,
    StagedRecord,
    Subscription,
)

UID: Final = re.compile(r"[0-9A-Za-z]{17}")

# --- rights -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may do. Unverified or unapproved accounts own nothing (contract 7)."""

    user: User | None = None
    is_admin: bool = False
    organizations: frozenset[int] = field(default_factory=frozenset)

    def may_manage(self, harvest: Harvest) -> bool:
        return self.is_admin or harvest.organization_id in self.organizations

    def visible(self) -> Q:
        """Filter of the harvests whose data the caller may see: published ones and their own (contract 2.8)."""
        if self.is_admin:
            return Q()
        return Q(publish=True) | Q(organization_id__in=self.organizations)


NOBODY: Final = Access()


def access_of(user: User | None) -> Access:
    """The rights of a person in the registry; one query."""
    if user is None or not user.is_authenticated:
        return NOBODY
    found: list[tuple[bool, int | None]] = list(_rights(user).values_list("is_registry_admin", "organizations"))
    is_admin = user.is_superuser or any(admin for admin, _ in found)
    owned = frozenset(organization for _, organization in found if organization is not None)
    return Access(user, is_admin, owned)


def _rights(user: User) -> QuerySet[Account]:
    """The person's account if it owns anything: approved, and the address proven."""
    proven = EmailAddress.objects.filter(user=OuterRef("user"), is_primary=True, is_verified=True)
    return Account.objects.filter(Exists(proven), user=user, approved=True)


# --- harvests ---------------------------------------------------------------------------------------------------


def is_uid(text: str) -> bool:
    """Whether a path segment can be a harvest's id; anything else is an unknown id (contract 2.1)."""
    return UID.fullmatch(text) is not None


def with_active_run(harvests: QuerySet[Harvest]) -> QuerySet[Harvest]:
    """Annotates `active_state`: `queued`, `running` or None."""
    active = HarvestRun.objects.filter(harvest=OuterRef("pk"), state__in=HarvestRun.ACTIVE)
    return harvests.annotate(active_state=Subquery(active.values("state")[:1]))


def harvest(uid: str) -> Harvest:
    """The harvest of an id with its organisation, or NotFound."""
    found = _harvests().filter(uid=uid).first() if is_uid(uid) else None
    if found is None:
        raise errors.NotFound(code="not_found")
    return found


def harvest_and_right(uid: str, user: User) -> tuple[Harvest, bool]:
    """The harvest of an id and whether a person may manage it, or NotFound; one query."""
    own = _rights(user).filter(Q(is_registry_admin=True) | Q(organizations=OuterRef("organization")))
    found = _harvests().annotate(is_own=Exists(own)).filter(uid=uid).first() if is_uid(uid) else None
    if found is None:
        raise errors.NotFound(code="not_found")
    return found, user.is_superuser or found.is_own


def _harvests() -> QuerySet[Harvest]:
    return with_active_run(Harvest.objects.select_related("organization"))


HARVEST_COLUMNS: Final = (
    "uid",
    "harvest_type",
    "name",
    "url",
    "publish",
    "harvest_interval",
    "organization__name",
    "organization__ckan_harvest_url",
    "ckan_harvest_url",
    "last_finished",
    "last_status",
    "last_record_count",
    "last_good_count",
    "last_bad_count",
    "harvest_contact",
    "deleting",
    "active_state",
)


def harvest_rows(harvests: QuerySet[Harvest] | None = None) -> Sequence[tuple[Any, ...]]:
    """All harvests in creation order as bare rows of `HARVEST_COLUMNS`; one query."""
    found = with_active_run(Harvest.objects.all()).order_by("id") if harvests is None else harvests
    return list(found.values_list(*HARVEST_COLUMNS))


def find_harvests(
    access: Access,
    *,
    organization: str = "",
    type: str = "",
    status: str = "",
    publish: bool | None = None,
    q: str = "",
) -> QuerySet[Harvest]:
    """Harvests the caller may see, filtered (contract 2.8), in creation order."""
    found = _harvests().filter(access.visible()).order_by("id")
    if organization:
        found = found.filter(Q(organization__name=organization) | Q(organization__slug=organization))
    if type:
        found = found.filter(harvest_type=type)
    if publish is not None:
        found = found.filter(publish=publish)
    if q:
        found = found.filter(Q(name__icontains=q) | Q(url__icontains=q) | Q(organization__name__icontains=q))
    return _by_status(found, status)


STATUSES: Final = ("ok", "fail", "pending", "harvesting", "deleting", "never")


def _by_status(found: QuerySet[Harvest], status: str) -> QuerySet[Harvest]:
    if status in ("ok", "fail"):
        return found.filter(Q(active_state=None), last_status=status, deleting=False)
    if status in ("pending", "harvesting"):
        return found.filter(Q(active_state="queued" if status == "pending" else "running"), deleting=False)
    if status == "deleting":
        return found.filter(deleting=True)
    return found.filter(Q(active_state=None), last_finished=None, deleting=False) if status == "never" else found


def visible_harvest(uid: str, access: Access) -> Harvest:
    """A harvest whose data the caller may see, else NotFound (contract 2.8)."""
    found = harvest(uid)
    if not (found.publish or access.may_manage(found)):
        raise errors.NotFound(code="not_found")
    return found


@dataclass(frozen=True, slots=True)
class Totals:
    """What an organisation's published sources hold."""

    name: str
    slug: str
    sources: int
    records: int
    good: int


def totals() -> list[Totals]:
    """Sources and records of each organisation, by name; one query."""
    live = Q(harvests__publish=True, harvests__deleting=False)
    rows = (
        Organization.objects.order_by("name")
        .annotate(
            sources=Count("harvests", filter=live),
            held=Coalesce(Sum("harvests__last_record_count", filter=live), 0),
            good=Coalesce(Sum("harvests__last_good_count", filter=live), 0),
        )
        .values_list("name", "slug", "sources", "held", "good")
    )
    return [Totals(*row) for row in rows]


def organization_names() -> list[str]:
    """All organisations, for filters."""
    return list(Organization.objects.order_by("name").values_list("name", flat=True))


def subscription(source: Harvest, user: User | None) -> str:
    """When a person is mailed about a harvest; empty for never."""
    if user is None:
        return ""
    wish = Subscription.objects.filter(user=user, harvest=source, webhook_url="").values_list("event", flat=True)
    return wish.first() or ""


def account(user: User) -> Account | None:
    """A person's side in the registry."""
    return Account.objects.filter(user=user).prefetch_related("organizations").first()


def tokens(user: User) -> list[ApiToken]:
    """A person's live tokens for the registry's API, newest first."""
    live = ApiToken.objects.filter(user=user, audience="registry", revoked_at=None)
    return list(live.exclude(expires_at__lt=timezone.now()).order_by("-created_at", "-id")[:200])


# --- records ----------------------------------------------------------------------------------------------------

STANDARDS: Final = ("gmd", "gmi", "mdb", "unknown")


def find_records(
    source: Harvest, *, valid: bool | None = None, stale: bool | None = None, standard: str = "", q: str = ""
) -> QuerySet[Record]:
    """The records of a harvest, filtered."""
    found = Record.objects.filter(harvest=source).order_by("id")
    if valid is not None:
        found = found.filter(valid=valid)
    if stale is not None:
        found = found.filter(stale_since__isnull=not stale)
    if standard:
        found = found.filter(standard=standard)
    if q:
        found = found.filter(Q(title__icontains=q) | Q(url__icontains=q) | Q(file_id=q) | Q(_translated_as(q)))
    return found


def _translated_as(q: str) -> RawSQL:
    """Whether a translation of a record's title holds the words, in any case."""
    sql = "EXISTS (SELECT 1 FROM jsonb_array_elements(registry_record.titles) t WHERE t ->> 'title' ILIKE %s)"
    words = re.sub(r"([\\%_])", r"\\\1", q)
    return RawSQL(sql, [f"%{words}%"], output_field=BooleanField())  # noqa: S611 - the words are a parameter


def record(number: int, access: Access) -> Record:
    """A record the caller may see, with its harvest."""
    rows = Record.objects.select_related("harvest", "organization")
    found = rows.filter(pk=number).first() if number < 2**63 else None
    if found is None or not (found.harvest.publish or access.may_manage(found.harvest)):
        raise errors.NotFound(code="not_found")
    return found


# --- runs -------------------------------------------------------------------------------------------------------


def runs_of(source: Harvest) -> QuerySet[HarvestRun]:
    """The runs of a harvest, newest first, with their jobs."""
    return source.runs.select_related("job", "harvest").order_by("-id")


def run(number: int, access: Access) -> HarvestRun:
    """A run the caller may see."""
    rows = HarvestRun.objects.select_related("harvest__organization", "job", "requester")
    found = rows.filter(pk=number).first() if number < 2**63 else None
    if found is None or not (found.harvest.publish or access.may_manage(found.harvest)):
        raise errors.NotFound(code="not_found")
    return found


def report_rows(found: HarvestRun) -> Iterator[tuple[Any, ...]]:
    """All issues of a run in the report's columns, through a server-side cursor."""
    rows = RunIssue.objects.filter(run=found).order_by("id").values_list(*report.COLUMNS)
    return rows.iterator(chunk_size=2000)


CHANGE_COLUMNS: Final = ("identity", "kind", "title", "old_sha256", "new_sha256")


def change_rows(found: HarvestRun, *, kind: str = "") -> Iterator[tuple[Any, ...]]:
    """What a run added, changed and removed."""
    rows = RunChange.objects.filter(run=found).order_by("id")
    if kind:
        rows = rows.filter(kind=kind)
    return rows.values_list(*CHANGE_COLUMNS).iterator(chunk_size=2000)


def removed_documents(source: Harvest) -> QuerySet[RunChange]:
    """What runs of a harvest removed and no later one brought back, newest first."""
    back = Record.objects.filter(harvest=source, identity=OuterRef("identity"))
    found = RunChange.objects.filter(run__harvest=source, kind=RunChange.Kind.REMOVED, run__undone_at=None)
    return found.exclude(Exists(back)).select_related("run").order_by("-id")


# --- the folder we serve ----------------------------------------------------------------------------------------


def served() -> QuerySet[Record]:
    """The records in our folder: of published harvests, valid, or well-formed where the harvest wants that (2.9)."""
    return (
        Record.objects.filter(harvest__publish=True, harvest__deleting=False)
        .exclude(content_sha256="")
        .filter(Q(valid=True) | Q(harvest__serve_invalid=True, well_formed=True))
    )


def folder(slug: str) -> Organization:
    """The organisation behind a folder name, or NotFound."""
    found = Organization.objects.filter(slug=slug).first() if "\0" not in slug else None
    if found is None:
        raise errors.NotFound(code="no_folder")
    return found


def folder_files(found: Organization) -> Iterator[tuple[str, datetime, int]]:
    """The files of a folder, sorted by name as bytes, through a server-side cursor."""
    repaired = When(harvest__widen_points=True, repaired_size__gt=0, then="repaired_size")
    rows = served().filter(organization=found).order_by("waf_name").annotate(bytes=Case(repaired, default="size"))
    return rows.values_list("waf_name", "changed_at", "bytes").iterator(chunk_size=2000)


def folders() -> list[tuple[str, datetime]]:
    """Folders that hold something, sorted, with when they changed."""
    filled = Organization.objects.filter(Exists(served().filter(organization=OuterRef("pk"))))
    return sorted(filled.values_list("slug", "waf_changed_at"))


def folders_state() -> tuple[int, datetime]:
    """What the root listing's validators are made of: the sum of all versions and the latest change."""
    states = list(Organization.objects.values_list("id", "waf_version", "waf_changed_at"))
    latest = max((changed for _, _, changed in states), default=datetime(1970, 1, 1, tzinfo=UTC))
    # versions only grow, so their weighted sum differs whenever one of them does
    return sum((number + 1) * version for number, version, _ in states), latest


def served_file(slug: str, name: str) -> Record:
    """A file of a folder, or NotFound."""
    found = None
    if "\0" not in slug + name:
        found = served().select_related("harvest").filter(organization__slug=slug, waf_name=name).first()
    if found is None:
        raise errors.NotFound(code="no_file")
    return found


# --- blobs ------------------------------------------------------------------------------------------------------


def live_blobs(keys: Collection[str]) -> set[str]:
    """Those of the given keys whose bytes somebody still needs: a record, a job in progress, a report's reader."""
    by_hash = {key.rpartition("/")[2]: key for key in keys if key.startswith("registry/docs/")}
    uploads = {key for key in keys if key.startswith("registry/uploads/")}
    reports = {key for key in keys if key.startswith("registry/reports/")}
    kept = set(keys) - uploads - reports - set(by_hash.values())
    active = Job.objects.filter(kind__startswith="registry.", state__in=core_jobs.ACTIVE, params__upload__in=uploads)
    kept |= set(active.values_list("params__upload", flat=True))
    kept |= set(
        Job.objects.filter(kind__in=ERRANDS, result__report__in=reports).values_list("result__report", flat=True)
    )
    hashes = list(by_hash)
    for model in (Record, StagedRecord):
        live = model.objects.filter(content_sha256__in=hashes).values_list("content_sha256", flat=True)
        kept |= {by_hash[sha256] for sha256 in live.distinct()}
    undoable = RunChange.objects.filter(old_sha256__in=hashes, before__isnull=False)
    return kept | {by_hash[sha256] for sha256 in undoable.values_list("old_sha256", flat=True).distinct()}


# --- errands ----------------------------------------------------------------------------------------------------

ERRANDS: Final = ("registry.import", "registry.check")


def errand(number: UUID) -> Job:
    """An import or a check an operator asked for."""
    found = Job.objects.filter(pk=number, kind__in=ERRANDS).first()
    if found is None:
        raise errors.NotFound(code="not_found")
    return found


def last_errands() -> list[Job]:
    """The newest imports and checks."""
    rows = Job.objects.filter(kind__in=ERRANDS).select_related("requested_by").order_by("-created_at", "-id")
    return list(rows[:20])
