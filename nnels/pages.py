"""The catalogue for people: search and title, in English and French, without JavaScript (contract 10.7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import wraps
from typing import Any, Final
from urllib import parse

import structlog
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.utils.translation import trans_real
from django.views.decorators.http import require_safe

from core import errors, net
from core.models import User
from nnels.formats import languages, wording
from nnels.selectors import items
from nnels.services import links, showing

COOKIE: Final = "nnels_language"
COOKIE_SECONDS: Final = 365 * 24 * 3600
MAX_PAGE: Final = 10**6
SEARCH: Final = ("q", "language", "format", "page")

View = Callable[..., HttpResponse]


def language_of(request: HttpRequest) -> str:
    """The language a person chose on this page, chose before, or whose browser prefers; else English."""
    chosen = [request.GET.get("lang", ""), request.COOKIES.get(COOKIE, "")]
    preferred = [code for code, _ in trans_real.parse_accept_lang_header(request.headers.get("Accept-Language", ""))]
    for code in [*chosen, *(code.partition("-")[0] for code in preferred)]:
        if code in wording.LANGUAGES:
            return code
    return wording.ENGLISH


def page(view: View) -> View:
    """A page in the person's language; facts become pages too."""

    @require_safe
    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except errors.NotFound:
            response = not_found(request)
        except errors.Denied:
            response = _told(request, "restricted_rights", "not_entitled", status=403)
        except (errors.Unavailable, OperationalError):
            response = _told(request, "unavailable", "unavailable_text", status=503)
            response["Retry-After"] = "30"
        response["Content-Language"] = language_of(request)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        patch_vary_headers(response, ["Accept-Language", "Cookie"])
        if request.GET.get("lang") in wording.LANGUAGES:
            response.set_cookie(
                COOKIE,
                language_of(request),
                max_age=COOKIE_SECONDS,
                path="/nnels",
                secure=request.is_secure(),
                httponly=True,
                samesite="Lax",
            )
        return response

    return shown


def _rendered(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    code = language_of(request)
    here = [(name, request.GET[name]) for name in SEARCH if name in request.GET]
    switch = [
        {"code": one, "name": name, "is_here": one == code, "href": _href(request.path, [*here, ("lang", one)])}
        for one, name in wording.LANGUAGES.items()
    ]
    common = {"w": wording.words(code), "switch": switch, "here": _href(request.path, here)}
    return render(request, f"nnels/{template}", {**common, **context}, status=status)


def _href(path: str, query: list[tuple[str, str]]) -> str:
    kept = [(name, value) for name, value in query if value]
    return f"{path}?{parse.urlencode(kept)}" if kept else path


def _told(request: HttpRequest, heading: str, text: str, *, status: int) -> HttpResponse:
    words = wording.words(language_of(request))
    return _rendered(request, "told.html", {"heading": words[heading], "text": words[text]}, status=status)


def not_found(request: HttpRequest) -> HttpResponse:
    """Whatever is not there below /nnels."""
    return _told(request, "not_found", "not_found_text", status=404)


@page
def no_such_page(request: HttpRequest) -> HttpResponse:
    """Whatever else is asked for below /nnels."""
    raise errors.NotFound


# --- search ---------------------------------------------------------------------------------------------------------


@page
def home(request: HttpRequest) -> HttpResponse:
    """The search form with a page of titles."""
    code = language_of(request)
    known_languages, known_formats = showing.choices()
    asked = _asked(request, known_languages, known_formats)
    problem, found = "", showing.Found([], 0)
    try:
        found = showing.find(asked)
    except errors.Invalid:
        problem = wording.words(code)["too_long"]
    context = {
        "asked": asked,
        "problem": problem,
        "found": found,
        "counted": wording.titles(found.count, code),
        "rows": [_line(row, code) for row in found.rows],
        "suggested": [
            {"label": one.label, "href": f"/nnels/titles/{one.nid}" if one.nid else _search(asked, words=one.label)}
            for one in found.suggested
        ],
        "languages": [(one, wording.language_name(one, code)) for one in known_languages],
        "formats": [(one, wording.format_name(one, code)) for one in known_formats],
        "paging": _paging(asked, found),
    }
    return _rendered(request, "home.html", context, status=400 if problem else 200)


def _asked(request: HttpRequest, known_languages: list[str], known_formats: list[str]) -> showing.Asked:
    """What the form says; what it cannot say is left out."""
    said = {name: request.GET.get(name, "").replace("\0", " ").strip() for name in SEARCH}
    number = said["page"]
    return showing.Asked(
        words=said["q"],
        language=said["language"] if said["language"] in known_languages else "",
        format=said["format"] if said["format"] in known_formats else "",
        page=min(int(number), MAX_PAGE) if number.isascii() and number.isdigit() and 0 < len(number) < 8 else 1,
    )


def _search(asked: showing.Asked, **other: Any) -> str:
    """The address of a search."""
    one = dataclasses.replace(asked, **{"page": 1, **other})
    number = str(one.page) if one.page > 1 else ""
    return _href("/nnels/", [("q", one.words), ("language", one.language), ("format", one.format), ("page", number)])


def _paging(asked: showing.Asked, found: showing.Found) -> dict[str, Any]:
    number, last = min(max(asked.page, 1), found.pages), found.pages
    places = {"first": 1, "previous": asked.page - 1, "next": asked.page + 1, "last": last}
    shown = {"first": number > 1, "previous": 1 < asked.page <= last, "next": asked.page < last, "last": number < last}
    links_ = {name: _search(asked, page=place) for name, place in places.items() if shown[name] and place >= 1}
    return {"number": number, "last": last, "links": links_}


def _line(row: dict[str, Any], code: str) -> dict[str, Any]:
    """A title in a list."""
    return {
        "nid": row["id"],
        "label": row["label"],
        "tag": languages.to_bcp47(row["languages"][0]) if row["languages"] else "",
        "creators": "; ".join(row["creators"]),
        "published": row["published_date"],
        "languages": ", ".join(wording.language_name(one, code) for one in row["languages"]),
        "formats": ", ".join(wording.format_name(one, code) for one in row["formats"]),
    }


# --- a title --------------------------------------------------------------------------------------------------------


def _user(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None


@page
def title(request: HttpRequest, nid: str) -> HttpResponse:
    """A title: what it is, how it can be read, its files."""
    code = language_of(request)
    account = showing.account_of(_user(request))
    shown = showing.title(int(nid), account=account)
    return _rendered(
        request,
        "title.html",
        {
            "line": _line(shown.row, code),
            "row": shown.row,
            "facts": _facts(shown.row, code),
            "access": _access(shown.row["accessibility"], code),
            "files": [_file(one, shown.files, code) for one in shown.files],
            "is_open": shown.row["rights"] == "open",
            "is_entitled": shown.is_entitled,
            "is_known": account is not None,
        },
    )


def _facts(row: dict[str, Any], code: str) -> list[tuple[str, str]]:
    """(label, value) of what is known of a title."""
    words = wording.words(code)
    publisher = ", ".join(filter(None, (row["publisher"]["name"], row["publisher"]["place"])))
    said = {
        "creators": "; ".join(row["creators"]),
        "narrators": "; ".join(row["narrators"]),
        "narration": words[row["narration"]] if row["narration"] else "",
        "duration": wording.duration(row["duration"], code) if row["duration"] else "",
        "languages": ", ".join(wording.language_name(one, code) for one in row["languages"]),
        "published": row["published_date"],
        "publisher": publisher,
        "series": row["series"],
        "edition": row["edition"],
        "audience": row["audience"],
        "subjects": "; ".join(row["subjects"]),
    }
    found = [(words[name], value) for name, value in said.items() if value]
    return [*found, *(("ISBN", number) for number in row["isbn"])]


def _access(said: dict[str, Any], code: str) -> list[tuple[str, str]]:
    words = wording.words(code)
    lists = {"access_modes": "accessMode", "features": "accessibilityFeature", "hazards": "accessibilityHazard"}
    found = [
        (words[name], ", ".join(wording.access_name(one, code) for one in said[key])) for name, key in lists.items()
    ]
    found += [(words["conforms"], ", ".join(said["conformsTo"])), (words["summary"], said["accessibilitySummary"])]
    return [(name, value) for name, value in found if value]


def _file(file: items.FileRow, all_files: Any, code: str) -> dict[str, Any]:
    same = [one for one in all_files if one.format == file.format]
    place = same.index(file) + 1
    return {
        "code": file.format,
        "name": wording.format_name(file.format, code),
        "size": wording.size(file.bytes, code),
        "part": place if len(same) > 1 else None,
    }


@page
def file(request: HttpRequest, nid: str, code: str) -> HttpResponse:
    """A redirect to a fresh link, for who may have it; who is not logged in is asked to."""
    account = showing.account_of(_user(request))
    if account is None:
        return redirect(f"/accounts/login?{parse.urlencode({'next': f'/nnels/titles/{nid}'})}")
    asked = links.Asked(
        account=account,
        request_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
        address=net.caller_address(request),
    )
    url = showing.file(int(nid), code, part=request.GET.get("part", "1"), asked=asked)
    return HttpResponse(status=303, headers={"Location": url, "Cache-Control": "private, no-store"})
