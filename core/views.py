"""The pages and probes that belong to no single API: landing page, health, metrics, API documentation, 404."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from core import announce, api, blobs, errors, metrics
from core.apps import ApiConfig, api_configs

PLAIN = api.Dialect()


def site(request: HttpRequest) -> dict[str, Any]:
    """What every template may use."""
    return {"apis": list(api_configs()), "contact_email": settings.CONTACT_EMAIL}


def base_url(request: HttpRequest) -> str:
    """Scheme and host for links: ``PUBLIC_BASE_URL``, else the checked host of the request."""
    return settings.PUBLIC_BASE_URL or f"{request.scheme}://{request.get_host()}"


@login_not_required
@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What this service is, for a person."""
    return render(request, "core/landing.html")


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """The icon for pages that name none (the admin, folder listings), which browsers ask for unasked."""
    icon = Path(__file__).with_name("static") / "core" / "quincunx.svg"
    return HttpResponse(icon.read_bytes(), content_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """The parts this process needs: 200 when the database answers, with the state of each; 503 otherwise."""
    parts = {"database": _database_answers(), "broker": announce.answers(), "store": blobs.answers()}
    return JsonResponse(
        {"ready": parts["database"], "parts": {name: "ok" if up else "down" for name, up in parts.items()}},
        status=200 if parts["database"] else 503,
        headers={"Cache-Control": "no-store"},
    )


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


@require_safe
def metrics_page(request: HttpRequest) -> HttpResponseBase:
    """Prometheus metrics; with ``METRICS_TOKEN`` set only for who presents it as a bearer token."""
    expected = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if expected and not secrets.compare_digest(given.encode(), expected.encode()):
        return PLAIN.error(request, errors.Unauthenticated("A metrics token is needed."))
    return HttpResponse(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _openapi(config: ApiConfig) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((Path(config.path) / "openapi.yaml").read_text("utf-8"))
    return document


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Every documented operation of the five APIs."""
    documents = [
        (config, _openapi(config)) for config in api_configs() if (Path(config.path) / "openapi.yaml").exists()
    ]
    return render(request, "core/docs.html", {"documents": documents})


@require_safe
def openapi(request: HttpRequest, app: str) -> HttpResponseBase:
    """One API's OpenAPI document, as JSON."""
    config = next((config for config in api_configs() if config.label == app), None)
    if config is None or not (Path(config.path) / "openapi.yaml").exists():
        return not_found(request)
    return api.json_response(_openapi(config), headers={"Access-Control-Allow-Origin": "*"})


@csrf_exempt  # whoever posts to a wrong address is told so, not of a missing token
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    """The core's 404: a page for browsers, problem details otherwise."""
    if "text/html" in request.headers.get("Accept", ""):
        return render(request, "core/not_found.html", status=404)
    return PLAIN.error(request, errors.NotFound("There is nothing at this address."))


def failed(request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
    """The core's answer to a fact: a page for browsers, which needs nothing of the database, else problem details."""
    answer = PLAIN.error(request, fact)
    if "text/html" not in request.headers.get("Accept", ""):
        return answer
    # Without the request: the frame asks for nobody's session, which may be what failed.
    page = HttpResponse(render_to_string("core/failed.html", _what_failed(fact)), status=answer.status_code)
    if answer.has_header("Retry-After"):
        page["Retry-After"] = answer["Retry-After"]
    return page


def _what_failed(fact: errors.Fact) -> dict[str, Any]:
    return {"is_passing": isinstance(fact, errors.Unavailable), "contact_email": settings.CONTACT_EMAIL}


def server_error(request: HttpRequest) -> HttpResponseBase:
    """The core's 500, which tells nothing."""
    return PLAIN.error(request, api.Internal("Something went wrong on our side."))
