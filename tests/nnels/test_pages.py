"""The catalogue's pages (contract 10.7)."""

from __future__ import annotations

import html
import re
import urllib.request
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from core.models import User
from nnels import models
from nnels.formats import wording
from nnels.services import showing
from tests.nnels import conftest as house

pytestmark = pytest.mark.django_db


def text(response: Any) -> str:
    """A page's words."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def test_search(client: Client) -> None:
    """Beyond 7: anybody searches published titles, by keyword, language and format; no signed link is on a page."""
    house.moby()
    house.make_item("Une baleine", nid=2, languages=["fra"], files={"txt": b"x"})
    house.make_item("Hidden whale", nid=3, published=False)
    everything = client.get("/nnels/")
    assert everything.status_code == 200
    assert "2 titles" in text(everything)
    assert "Hidden" not in text(everything)
    found = client.get("/nnels/?q=moby")
    assert '<a href="/nnels/titles/6804">Moby-Dick</a>' in found.content.decode()
    assert "1 title" in text(found)
    assert "Melville, Herman" in text(found)
    for query, label in (("language=fra", "Une baleine"), ("format=epub", "Moby-Dick"), ("q=baleines", "Une baleine")):
        assert re.findall(r"<h3[^>]*><a[^>]*>([^<]*)", client.get(f"/nnels/?{query}").content.decode()) == [label]
    assert "X-Amz" not in found.content.decode()
    hostile = client.get("/nnels/?q=%22%3E%3Cscript%3E&language=%27&format=x&page=x%00")
    assert hostile.status_code == 200
    assert "<script" not in hostile.content.decode()


def test_links_repeat_no_credential(client: Client) -> None:
    """N16: what is no part of a search is in no link of a page."""
    for path in ("/nnels/?q=x&access_token=secret", "/nnels/titles/1?access-token=secret&x=secret"):
        assert "secret" not in client.get(path).content.decode()


def test_paging(client: Client) -> None:
    """Beyond 7: every title is on exactly one page, and links keep the search."""
    for number in range(45):
        house.make_item(f"Roman {number:02}", files={})
    seen: list[str] = []
    path = "/nnels/?q=roman&language=eng"
    while path:
        page = client.get(path).content.decode()
        seen += re.findall(r"<h3[^>]*><a[^>]*>([^<]*)", page)
        forward = re.search(r'<a href="([^"]*)" rel="next"', page)
        path = html.unescape(forward[1]) if forward else ""
    assert sorted(seen) == [f"Roman {number:02}" for number in range(45)]
    assert "Page 3 of 3" in text(client.get("/nnels/?q=roman&page=999"))


def test_nothing_found(client: Client) -> None:
    """Beyond 7: without a hit the page says what resembles the words; too many words are a form error."""
    house.moby()
    page = client.get("/nnels/?q=mobby")
    assert "No title was found." in text(page)
    assert '<a href="/nnels/titles/6804" dir="auto">Moby-Dick</a>' in page.content.decode()
    for words in ("x" * 501, "+".join("abcdefghijklmnopqrstuvwxyz0123456789")):
        refused = client.get(f"/nnels/?q={words}")
        assert refused.status_code == 400
        assert "Please search for fewer words." in text(refused)
        assert 'aria-invalid="true"' in refused.content.decode()


def test_languages(client: Client) -> None:
    """Beyond 7: French and English by Accept-Language, and a switch that is remembered."""
    house.moby()
    path = "/nnels/titles/6804"
    english, french = client.get(path), client.get(path, headers={"accept-language": "fr-CA,en;q=0.5"})
    assert (english["Content-Language"], french["Content-Language"]) == ("en", "fr")
    assert '<html lang="fr">' in french.content.decode()
    assert "Réservé aux lectrices et lecteurs vérifiés" in text(french)
    assert "Se connecter" in text(french)
    assert "anglais" in text(french)
    assert {"Accept-Language", "Cookie"} <= set(french["Vary"].replace(" ", "").split(","))
    home = client.get("/nnels/?q=moby&page=1&lang=fr")
    assert (
        '<a href="/nnels/?q=moby&amp;page=1&amp;lang=en" lang="en" hreflang="en">English</a>' in home.content.decode()
    )
    assert client.get(path)["Content-Language"] == "fr", "the cookie remembers"
    client.get("/nnels/?lang=en")
    assert client.get(path, headers={"accept-language": "fr"})["Content-Language"] == "en"
    assert client.get("/nnels/?lang=xx", headers={"accept-language": "de,*;q=0.1"})["Content-Language"] == "en"


def test_no_word_is_missing() -> None:
    """Beyond 7: every word is there in both languages."""
    english, french = wording.words("en"), wording.words("fr")
    assert english.keys() == french.keys()
    assert all(english.values())
    assert all(french.values())
    for code in models.Format.values:
        assert wording.format_name(code, "fr")
    assert [wording.titles(count, "fr") for count in (0, 1, 1234)] == ["0 titre", "1 titre", "1\u202f234 titres"]
    assert [wording.titles(count, "en") for count in (0, 1, 1234)] == ["0 titles", "1 title", "1,234 titles"]
    assert wording.size(1_234_567, "fr") == "1,2\u00a0Mo"
    assert wording.duration("PT2H0M30S", "en") == "2\u00a0h 0\u00a0minutes"
    assert wording.language_name("tlh", "fr") == wording.language_name("tlh", "en")


def test_title(client: Client) -> None:
    """Beyond 7: a title says what it is and how it can be read; others' scripts are marked; hidden ones are 404."""
    house.moby(
        label="בראשית",
        languages=["heb"],
        narrators=["Reader, A."],
        narration="human",
        duration=7230,
        series="Classics",
        accessibility={
            "accessMode": ["textual"],
            "accessibilityFeature": ["tableOfContents", "somethingNew"],
            "accessibilitySummary": "All of it.",
        },
    )
    page = client.get("/nnels/titles/6804")
    body, words = page.content.decode(), text(page)
    assert '<h1 lang="he" dir="auto">בראשית</h1>' in body
    for said in ("Hebrew", "2 h 0 minutes", "Human voice", "table of contents, somethingNew", "All of it.",
                 "ISBN 9780142437247", "EPUB", "37 bytes"):  # fmt: skip
        assert said in words.replace("\u00a0", " "), said
    house.make_item("Hidden", nid=3, published=False)
    for path in (
        "/nnels/titles/3",
        "/nnels/titles/999",
        "/nnels/titles/" + "9" * 18,
        "/nnels/nosuch",
        "/nnels/titles/x",
    ):
        missing = client.get(path, headers={"accept-language": "fr"})
        assert missing.status_code == 404
        assert "Cette page n’existe pas" in text(missing)


def test_files(client: Client, reader: User) -> None:
    """Beyond 7: verified readers get a fresh, logged link; others are told why not, and nothing is logged."""
    item = house.moby(files={"txt": b"one", "txt:2": b"two", "epub": b"book"})
    path = f"/nnels/titles/{item.pk}"
    asked = client.get(path)
    assert "Log in to download" in text(asked)
    assert "/files/" not in asked.content.decode()
    assert client.get(f"{path}/files/txt")["Location"] == "/accounts/login?next=%2Fnnels%2Ftitles%2F6804"
    unverified = house.make_user("unverified")
    client.force_login(unverified)
    assert "Ask your library to verify your account." in text(client.get(path))
    assert client.get(f"{path}/files/txt").status_code == 403
    assert not models.UrlIssue.objects.exists()
    client.force_login(reader)
    links = re.findall(r'href="(/nnels/titles/6804/files/[^"]*)"', client.get(path).content.decode())
    assert links == [f"{path}/files/epub", f"{path}/files/txt?part=1", f"{path}/files/txt?part=2"]
    answer = client.get(links[2])
    assert (answer.status_code, answer["Cache-Control"]) == (303, "private, no-store")
    with urllib.request.urlopen(answer["Location"]) as file:
        assert file.read() == b"two"
    issue = models.UrlIssue.objects.get()
    assert (issue.purpose, issue.user_id, issue.item_id) == ("page", reader.pk, 6804)
    for wrong in ("pdf", "txt?part=3", "txt?part=x"):
        assert client.get(f"{path}/files/{wrong}").status_code == 404
    models.Reader.objects.update(print_disability_verified=False)
    assert client.get(f"{path}/files/epub").status_code == 403, "withdrawal acts at once"


def test_open_title(client: Client) -> None:
    """Beyond 7: an open title is for every account."""
    house.moby(rights="open")
    client.force_login(house.make_user("anybody"))
    assert "Open to every account" in text(client.get("/nnels/titles/6804"))
    assert client.get("/nnels/titles/6804/files/epub").status_code == 303


def test_slow_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 7: a statement that takes too long is a page that says so."""

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(showing, "find", fail)
    answer = client.get("/nnels/?q=x", headers={"accept-language": "fr"})
    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert "Veuillez réessayer" in text(answer)


def test_verbs(client: Client) -> None:
    """Beyond 7: pages are read only; both slash forms answer without a redirect."""
    house.moby()
    for path in ("/nnels", "/nnels/", "/nnels/titles/6804", "/nnels/titles/6804/"):
        assert client.get(path).status_code == 200
        assert client.head(path).content == b""
        assert client.post(path).status_code == 405
