"""Webhooks of a repository: written in the transaction in which an export becomes ready or fails, sent by the core."""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from core import errors, webhooks
from exports.formats import names, stamps
from exports.models import ExportBuild, Webhook
from exports.selectors import builds

log = structlog.get_logger(__name__)

SIGNATURE = "Export-Signature"
READY, FAILED = "ready", "failed"


def noted(builds: QuerySet[ExportBuild]) -> QuerySet[Any]:
    """The builds with ``is_awaited``: whether anybody wants to hear of their repository; without a statement more."""
    return builds.annotate(is_awaited=Exists(Webhook.objects.filter(repo=OuterRef("version__repo"))))


def tell(build_id: Any, event: str) -> None:
    """Queue a notice to everybody who wants to hear of it; one per build, event and receiver."""
    wanted = Webhook.objects.filter(repo__versions__builds=build_id, **{f"on_{event}": True})
    receivers = list(wanted)
    if not receivers:
        return
    one = ExportBuild.objects.select_related("version__repo", "base").get(pk=build_id)
    body = payload(one, event)
    for receiver in receivers:
        _queue(receiver, one, event, body)


def _queue(receiver: Webhook, one: ExportBuild, event: str, body: dict[str, Any]) -> None:
    try:
        webhooks.queue(
            f"exports.{event}",
            receiver.url,
            body,
            key=receiver.key,
            header=SIGNATURE,
            dedupe=f"exports:{receiver.pk}:{one.pk}:{event}",
        )
    except errors.Invalid as fact:
        # the rules for addresses may have become stricter since; a build does not fail for its messenger
        log.warning("webhook_refused", receiver=str(receiver.pk), reason=fact.message)


def payload(one: ExportBuild, event: str) -> dict[str, Any]:
    """What a receiver is told. No link: those work once; the address of the export hands one out."""
    version = one.version
    variant = builds.variant_of(one)
    return {
        "event": f"export.{event}",
        "build": str(one.pk),
        "repository": version.repo.uri if version else None,
        "version": one.version_name,
        "variant": one.label or None,
        "url": f"{settings.PUBLIC_BASE_URL}{variant.path(version.uri)}" if version else None,
        "finished_at": stamps.iso(one.finished_at),
        "last_updated": stamps.iso(one.last_updated),
        "counts": one.counts,
        "archives": [_archive(one, form) for form in names.STORED if getattr(one, f"{form}_key")],
        "error": {"code": one.error_code, "message": one.error_message} if event == FAILED else None,
    }


def _archive(one: ExportBuild, form: str) -> dict[str, Any]:
    return {"format": form, "size": getattr(one, f"{form}_size"), "sha256": getattr(one, f"{form}_sha256")}
