"""The status document and the headers of the export resource: two renderings of one state, so that they agree."""

from typing import Any

from django.utils import timezone

from exports.formats import names, stamps, variants
from exports.models import ExportBuild
from exports.selectors import builds


def url(state: builds.ExportState) -> str:
    return state.variant.path(state.version.uri)


def document(state: builds.ExportState) -> dict[str, Any]:
    """The status resource (contract §2.4)."""
    job = state.job
    return {
        "status": state.status,
        "rebuild": state.rebuild,
        "version": state.version.name,
        "url": url(state),
        "progress": _progress(state),
        "attempt": job.attempt if job and state.newest else (state.ready.attempt if state.ready else 0),
        "queued_at": stamps.iso(job.created_at) if job else None,
        "started_at": stamps.iso(job.started_at) if job else None,
        "finished_at": _finished_at(state),
        "eta_seconds": state.eta,
        "error": {"code": state.error[0], "message": state.error[1]} if state.error else None,
        "stale": state.is_stale,
        "last_updated": stamps.iso(state.ready.last_updated) if state.ready else None,
        "counts": state.ready.counts if state.ready else None,
        "json": _json(state.ready) if state.ready else None,
        "archives": [_archive(state.ready, form) for form in variants.stored(state.variant.key)] if state.ready else [],
    }


def _json(build: ExportBuild) -> dict[str, Any] | None:
    """The document inside; packages and tables hold none."""
    return None if build.json_size is None else {"size": build.json_size, "sha256": build.json_sha256}


def _progress(state: builds.ExportState) -> dict[str, Any]:
    known = state.progress
    if state.ready and not state.active:
        rows = sum((state.ready.counts or {}).get(kind, 0) for kind in ("concepts", "mappings", "references"))
        size = state.ready.json_size or state.ready.tgz_size or state.ready.zip_size
        return {"percent": 100, "stage": "ready", "done": rows, "total": rows, "bytes": size}
    return {
        "percent": state.percent,
        "stage": known.get("stage"),
        "done": known.get("done", 0),
        "total": known.get("total", 0),
        "bytes": known.get("bytes", 0),
    }


def _finished_at(state: builds.ExportState) -> str | None:
    if state.active:
        return None
    ended = state.failed or state.ready
    return stamps.iso(ended.finished_at) if ended else None


def _archive(build: ExportBuild, form: str) -> dict[str, Any]:
    return {
        "format": form,
        "filename": filename(build, form),
        "size": getattr(build, f"{form}_size"),
        "sha256": getattr(build, f"{form}_sha256"),
    }


def filename(build: ExportBuild, form: str) -> str:
    stamp = build.last_updated or timezone.now()
    return names.filename(repo=build.repo_name, version=build.title, stamp=stamp, form=form)


def etag(build: ExportBuild, form: str) -> str:
    return names.etag(form, tgz=build.tgz_sha256, zipped=build.zip_sha256, json=build.json_sha256)


def headers(state: builds.ExportState) -> dict[str, str]:
    """On every answer of the export resource, whatever its status."""
    told = {
        "Cache-Control": "no-store",
        "Vary": "Accept, Authorization, Prefer",
        "Link": f'<{state.variant.path(state.version.uri, "status/")}>; rel="status"',
        "X-Export-Status": state.status,
    }
    if state.active or state.ready:
        told["X-Export-Progress"] = str(state.percent)
    if state.rebuild:
        told["X-Export-Rebuild"] = state.rebuild
    if state.active:
        told["Retry-After"] = str(state.retry_after)
    if state.error:
        told["X-Export-Error"] = _ascii("; ".join(state.error))[:200]
    return told


def archive_headers(state: builds.ExportState, build: ExportBuild, form: str, *, size: int | None) -> dict[str, str]:
    """Beside an archive: what it is and when it was last updated."""
    told = {**times(build), "ETag": etag(build, form), "X-Export-Filename": filename(build, form)}
    if size is not None:
        told["X-Export-Size"] = str(size)
    if state.is_stale:
        told["X-Export-Stale"] = "true"
    return told


def times(build: ExportBuild) -> dict[str, str]:
    stamp = build.last_updated
    if stamp is None:
        return {}
    return {
        "Last-Updated": stamps.offset_iso(stamp),
        "Last-Updated-Timezone": "UTC",
        "Last-Modified": stamps.http_date(stamp),
    }


def _ascii(words: str) -> str:
    return "".join(letter if " " <= letter <= "~" else " " for letter in words)
