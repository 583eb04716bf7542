"""The directory search over HTTP (contract 2.3 and 2.4)."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from core.models import EmailAddress, User
from tests.usermgmt import world
from usermgmt.formats import wire

pytestmark = pytest.mark.django_db

DOCUMENTED = (
    b'{"users":[{"id":"1","username":"mgatto10","firstname":"\\u0627\\u062d\\u0645\\u062f",'
    b'"lastname":"\\u0635\\u0641\\u064a\\u0627\\u0646","email":"mgatto10@email.arizona.edu","institution":null,'
    b'"position":"Kaatib"},{"id":"2","username":"mgatto30","firstname":"Michael","lastname":"Gatto",'
    b'"email":"mgatto10@iplantcollaborative.org","institution":"Iplant","position":"Programmer, Senior"}]}'
)


@pytest.fixture
def program() -> world.Program:
    return world.program(world.person("owner", "Olga", "Owner"))


def names(response: Any) -> list[str]:
    return [user["username"] for user in response.json()["users"]]


def search(program: world.Program, kind: str, term: str, **more: Any) -> list[str]:
    return names(program.get(f"/api/v1/users/{kind}/{quote(term)}", **more))


def test_the_documented_answer() -> None:
    """UM1: `username/mgatto` on the seed's two people answers byte for byte the body of 2.4."""
    world.seed_people()  # before anybody else, whose ids would be theirs on a fresh database
    program = world.program(world.person("owner"))
    response = program.get("/api/v1/users/username/mgatto")
    assert response.status_code == 200
    assert response.content == DOCUMENTED


@pytest.mark.parametrize("path", ["username/mgatto30", "name/michael", "name/michael+gatto", "email/mgatto10@iplant"])
def test_every_type_has_the_same_keys(program: world.Program, path: str) -> None:
    """UM2: All search types return the same 7 keys in order; ids are strings; unset institution/position are null."""
    world.seed_people()
    world.person("plain", "Michael", "Gatto", "mgatto10@iplant.example")
    users = program.get(f"/api/v1/users/{path}").json()["users"]
    assert users
    for user in users:
        assert tuple(user) == wire.USER_KEYS
        assert all(value is None or isinstance(value, str) for value in user.values())
    if "name/" in path[:5]:
        assert users[-1]["institution"] is None
        assert users[-1]["position"] is None


@pytest.mark.parametrize("path", ["username/acarter", "name/carter", "name/ada+carter", "email/ada.c"])
def test_every_type_tells_the_same_of_a_person(program: world.Program, path: str) -> None:
    """UM2: each key has its own field's value, whichever way the person is found."""
    user = world.person("acarter", "Ada", "Carter", "ada.c@x.org", institution="Observatory", position="Astronomer")
    assert program.get(f"/api/v1/users/{path}").json()["users"] == [
        {
            "id": str(user.pk),
            "username": "acarter",
            "firstname": "Ada",
            "lastname": "Carter",
            "email": "ada.c@x.org",
            "institution": "Observatory",
            "position": "Astronomer",
        }
    ]


def test_ascii_with_surrogate_pairs_and_nobody(program: world.Program) -> None:
    """UM3: The raw body is ASCII, astral characters as surrogate pairs; no match is 404 `{"users":[]}`."""
    world.person("astral", "𝒜stral é/ü", "\U00020b9f")
    response = program.get("/api/v1/users/username/astral")
    assert response.content.isascii()
    assert b"\\ud835\\udc9cstral \\u00e9/\\u00fc" in response.content
    assert b"\\ud842\\udf9f" in response.content
    response = program.get("/api/v1/users/username/nobodyhere")
    assert (response.status_code, response.content) == (404, b'{"users":[]}')


def test_get_post_put_are_one_and_head_has_its_headers(program: world.Program) -> None:
    """UM4: GET, POST, PUT on `/users` give equal bodies whatever is sent; HEAD the same headers."""
    world.seed_people()
    path = "/api/v1/users/username/mgatto"
    got = program.get(path)
    for method in ("post", "put"):
        for body, kind in (
            (b"", "text/plain"),
            (b"<x>", "text/xml"),
            (b"{broken", "application/json"),
            (b"\xff", "a/b"),
        ):
            response = program.call(method, path, data=body, content_type=kind)
            assert (response.status_code, response.content) == (200, got.content)
    head = program.call("head", path)
    assert head.content == b""
    ignored = {"Expires", "X-Request-ID"}
    assert {k: v for k, v in head.items() if k not in ignored} == {k: v for k, v in got.items() if k not in ignored}


@pytest.mark.parametrize("method", ["delete", "patch", "options", "trace"])
def test_other_methods(method: str) -> None:
    """UM5: DELETE, PATCH, OPTIONS on `/users` are 405 with text and `Allow`, even without credentials."""
    response = getattr(Client(), method)("/api/v1/users/username/mgatto")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD, POST, PUT"
    assert response.content == b'{"error":{"HTTP":"Method not supported; only GET requests are accepted"}}'


@pytest.mark.parametrize(
    "path", ["username/mgatto", "name/michael", "email/mgatto", "name/ab", "username/zzzz", "name"]
)
def test_a_slash_at_the_end_changes_nothing(program: world.Program, path: str) -> None:
    """UM10: Slash and slash-less forms answer alike; no API path ever answers 3xx."""
    world.seed_people()
    plain, slashed = program.get(f"/api/v1/users/{path}"), program.get(f"/api/v1/users/{path}/")
    assert (plain.status_code, plain.content) == (slashed.status_code, slashed.content)
    assert plain.status_code in (200, 400, 404)


@pytest.mark.parametrize("headers", [{}, {"HTTP_ACCEPT_ENCODING": "gzip"}, {"HTTP_ACCEPT_ENCODING": "gzip;q=0"}])
def test_headers_of_every_answer(program: world.Program, headers: dict[str, str]) -> None:
    """UM12: The headers of 2.4 are on 200, 206, 400, 401, 404, 405, with and without gzip, also under 200 bytes."""
    world.seed_people()
    answers = [
        program.get("/api/v1/users/username/mgatto", **headers),
        program.get("/api/v1/users/username/mgatto", HTTP_RANGE="records=0-1", **headers),
        program.get("/api/v1/users/username/ab", **headers),
        program.get("/api/v1/users/username/mgatto", HTTP_AUTHORIZATION="", **headers),
        program.get("/api/v1/users/username/nobodyhere", **headers),
        program.call("delete", "/api/v1/users/username/mgatto", **headers),
    ]
    assert [answer.status_code for answer in answers] == [200, 206, 400, 401, 404, 405]
    for answer in answers:
        world.check_headers(answer)
        assert ("Accept-Ranges" in answer) == (answer.status_code < 300)
    is_packed = headers.get("HTTP_ACCEPT_ENCODING") == "gzip"
    assert (answers[0].get("Content-Encoding") == "gzip") == is_packed
    assert "Content-Encoding" not in answers[2]
    body = gzip.decompress(answers[0].content) if is_packed else answers[0].content
    assert body == DOCUMENTED


@pytest.mark.parametrize("term", ["___", "%%%", "\\\\\\"])
def test_wildcards_are_literal(program: world.Program, term: str) -> None:
    """UM13: `___`, `%25%25%25` and `%5C%5C%5C` match only people whose field contains them."""
    world.seed_people()
    assert search(program, "name", term) == []
    world.person("odd", f"Odd {term} name", "x")
    assert search(program, "name", term) == ["odd"]
    User.objects.filter(username="odd").update(username_n=f"odd{term}")
    assert search(program, "username", term) == ["odd"]
    assert search(program, "email", term) == []
    world.person("mailed", email=f"a{term}b@x.org")
    assert search(program, "email", term) == ["mailed"]


@pytest.mark.parametrize("term", ["__ __", "%% %%", "\\\\ \\\\"])
def test_wildcards_are_literal_in_both_names(program: world.Program, term: str) -> None:
    """UM13: nor do they stand for letters where a term is split between given and family name."""
    world.seed_people()
    assert search(program, "name", term) == []
    first, last = term.split(" ")
    world.person("odd", f"Odd{first}", f"{last}s")
    assert search(program, "name", term) == ["odd"]


@pytest.mark.parametrize("term", ["a+b", "+++", "e%CC%81%CC%82%CC%83", "%20%20ab%20", "a%CC%81b"])
def test_too_short_after_normalisation(program: world.Program, term: str) -> None:
    """UM14: `a+b`, `+++`, `e` with three combining accents are 400 on `name`."""
    response = program.get(f"/api/v1/users/name/{term}")
    assert response.status_code == 400
    assert response.content == b'{"error":{"Validation":"Search terms must have at least 3 characters"}}'


@pytest.mark.parametrize("path", ["username", "name/", "email", "name/%20", "email/ab", "username/a%20%20b"])
def test_too_short_in_every_type(program: world.Program, path: str) -> None:
    """UM14: an empty term is too short as well, and spaces do not count, whatever is searched."""
    response = program.get(f"/api/v1/users/{path}")
    assert response.status_code == 400
    assert response.content == b'{"error":{"Validation":"Search terms must have at least 3 characters"}}'


@pytest.mark.parametrize(
    ("term", "first"),
    [
        ("jose", "José"),
        ("MULLER", "Müller"),
        ("ist", "İstanbul"),
        ("αλφ", "ΆΛΦΑ"),
        ("strasse", "Weißstraße"),
        ("abc", "ＡＢＣ"),
        ("Jose\u0301", "Jos\u00e9"),
        ("हिन्द", "हिन्दी"),
        ("小明明", "小明明"),
    ],
)
def test_normalisation_finds(program: world.Program, term: str, first: str) -> None:
    """UM15: The examples under *Normalisation* match; й does not match и; Devanagari vowels stay."""
    world.person("wanted", first, "")
    world.person("other", "Андрейка", "हनद")
    assert search(program, "name", term) == ["wanted"]
    assert search(program, "name", "дреик") == []


def test_two_part_names(program: world.Program) -> None:
    """UM16: `john+adams` equals `john%20adams`, finds John Adams, not Adams John; compound names work; email
    `a+b@x.org` finds the plus address."""
    world.person("right", "John", "Adams")
    world.person("wrong", "Adams", "John")
    world.person("compound", "Juan Carlos", "de la Cruz")
    world.person("chinese", "小明", "王")
    world.person("plus", email="a+b@x.org")
    first, second = (program.get(f"/api/v1/users/name/{term}") for term in ("john+adams", "john%20adams"))
    assert first.content == second.content
    assert names(first) == ["right"]
    for term in ("juan+carlos", "de+la+cruz", "juan carlos de la cruz", "carlos+de", "uan carlos de la cru"):
        assert search(program, "name", term.replace("+", " ")) == ["compound"], term
    assert search(program, "name", "小明 王") == ["chinese"]
    assert names(program.get("/api/v1/users/name/%E5%B0%8F%E6%98%8E+%E7%8E%8B")) == ["chinese"]
    assert names(program.get("/api/v1/users/email/a+b@x.org")) == ["plus"]
    assert names(program.get("/api/v1/users/email/a%2Bb@x")) == ["plus"]
    assert search(program, "name", "hn adam") == ["right"]
    assert search(program, "name", "johnadams") == []


def test_names_of_many_words(program: world.Program) -> None:
    """UM16: up to eight words are split between given and family name; nine are looked for as they stand."""
    words = "uno dos tres cuatro cinco seis siete ocho"
    world.person("split", "uno dos tres", "cuatro cinco seis siete ocho nueve")
    world.person("whole", "x", f"{words} nueve")
    assert search(program, "name", words) == ["split", "whole"]
    assert search(program, "name", f"{words} nueve") == ["whole"]


@pytest.mark.parametrize("hiding", [{"is_validated": False}, {"is_active": False}, {"hide_from_directory": True}])
def test_who_cannot_be_found(program: world.Program, hiding: dict[str, bool]) -> None:
    """UM17: Unvalidated, inactive and hidden users never appear in any search type."""
    world.person("shadowy", "Shadowy", "Figure", "shadowy@dark.example", **hiding)
    for kind in ("username", "name", "email"):
        assert search(program, kind, "shadowy") == []
    assert search(program, "name", "shadowy figure") == []


def test_several_matching_addresses(program: world.Program) -> None:
    """UM18: A user with several matching addresses appears once, with the best."""
    user = world.person("multi", email="zz.best@x.org", more=["best@x.organic", "best@x.org.uk", "best@x.org"])
    user.addresses.filter(is_primary=True).update(created_at=timezone.now() + timedelta(days=1))
    EmailAddress(user=user, address="best@x.orgunverified", is_verified=False).save()
    users = program.get("/api/v1/users/email/best@x.org").json()["users"]
    assert [(user["username"], user["email"]) for user in users] == [("multi", "best@x.org")]
    assert program.get("/api/v1/users/email/best@x.org.").json()["users"][0]["email"] == "best@x.org.uk"
    # Three that begin so: the oldest.
    assert program.get("/api/v1/users/email/best@x.or").json()["users"][0]["email"] == "best@x.organic"
    # No exact or prefix match: the primary address first, though it is the newest.
    assert program.get("/api/v1/users/email/est@x.org").json()["users"][0]["email"] == "zz.best@x.org"
    assert search(program, "email", "orgunverified") == []


@pytest.mark.parametrize("kind", ["username", "name", "email"])
def test_ranking_across_pages(program: world.Program, kind: str) -> None:
    """UM19: Exact precedes prefix precedes substring, ties by id, also across page borders."""
    for number, word in enumerate(["xxneedle", "needlexx", "needle", "yyneedle", "needleyy", "zneedlez"]):
        name = {"username": word, "name": f"p{number}", "email": f"p{number}"}[kind]
        world.person(name, word if kind == "name" else "", "", word + "@a.org" if kind == "email" else None)
    ranked = ["needle", "needlexx", "needleyy", "xxneedle", "yyneedle", "zneedlez"]
    field = {"username": "username", "name": "firstname", "email": "email"}[kind]
    term = "needle"
    whole = [user[field].partition("@")[0] for user in program.get(f"/api/v1/users/{kind}/{term}").json()["users"]]
    if kind == "email":
        # Nobody's whole address is the term: a prefix is the best there is.
        ranked = ["needlexx", "needle", "needleyy", "xxneedle", "yyneedle", "zneedlez"]
    assert whole == ranked
    paged: list[str] = []
    for start in range(0, 6, 2):
        answer = program.get(f"/api/v1/users/{kind}/{term}", HTTP_RANGE=f"records={start}-{start + 2}")
        paged += [user[field].partition("@")[0] for user in answer.json()["users"]]
    assert paged == ranked


def test_ranking_of_two_part_names(program: world.Program) -> None:
    """UM19: a split that equals both names is exact, one that starts both a prefix."""
    world.person("inside", "Mary Ann", "McLee")
    world.person("starts", "Annabel", "Leeds")
    world.person("exact", "Ann", "Lee")
    assert search(program, "name", "ann lee") == ["exact", "starts", "inside"]
    paged = [search(program, "name", "ann lee", HTTP_RANGE=f"records={n}-{n + 1}") for n in range(3)]
    assert paged == [["exact"], ["starts"], ["inside"]]


def test_ranking_by_family_name(program: world.Program) -> None:
    """UM19: the family name decides as the given name does."""
    for username, last in (("inside", "McLeeds"), ("starts", "Leeds"), ("exact", "Lee")):
        world.person(username, "Ann", last)
    assert search(program, "name", "lee") == ["exact", "starts", "inside"]


def test_ranking_of_addresses(program: world.Program) -> None:
    """UM19: whose whole address is the term comes before those whose address begins with it or holds it."""
    for username, address in (("inside", "my.lee@x.org"), ("starts", "lee@x.organic"), ("exact", "lee@x.org")):
        world.person(username, email=address)
    assert search(program, "email", "lee@x.org") == ["exact", "starts", "inside"]


def crowd(count: int) -> None:
    users = [
        User(username=f"mass{number:04}", username_n=f"mass{number:04}", is_validated=True) for number in range(count)
    ]
    User.objects.bulk_create(users)


@pytest.mark.parametrize(("count", "truncated"), [(101, "true"), (100, None)])
def test_the_default_window(program: world.Program, count: int, truncated: str | None) -> None:
    """UM20: 101 matches without `Range`: 200, 100 rows, `X-Result-Truncated: true`; 100: absent."""
    crowd(count)
    response = program.get("/api/v1/users/username/mass")
    assert response.status_code == 200
    assert len(response.json()["users"]) == 100
    assert response.get("X-Result-Truncated") == truncated
    assert "Content-Range" not in response
    assert program.get("/api/v1/users/username/mass", HTTP_RANGE="bytes=0-5").content == response.content


@pytest.mark.parametrize(("count", "status", "shown"), [(51, 206, "records 0-49/*"), (50, 200, None)])
def test_a_window_of_fifty(program: world.Program, count: int, status: int, shown: str | None) -> None:
    """UM21: `records=0-50` over 51 matches: 206, 50 rows, `Content-Range: records 0-49/*`; over 50: 200."""
    crowd(count)
    response = program.get("/api/v1/users/username/mass", HTTP_RANGE="Records=0-50")
    assert response.status_code == status
    assert len(response.json()["users"]) == 50
    assert response.get("Content-Range") == shown
    assert response.get("X-Result-Truncated") == ("true" if status == 206 else None)


def test_consecutive_windows(program: world.Program) -> None:
    """UM22: Consecutive windows give every match once; past the end is 404; 500 rows at most."""
    crowd(601)
    found: list[str] = []
    for start in range(0, 600, 150):
        answer = program.get("/api/v1/users/username/mass", HTTP_RANGE=f"records={start}-{start + 150}")
        assert answer.status_code == 206
        found += names(answer)
    last = program.get("/api/v1/users/username/mass", HTTP_RANGE="records=600-750")
    assert (last.status_code, last["Content-Range"]) == (206, "records 600-600/*")
    assert "X-Result-Truncated" not in last
    assert found + names(last) == [f"mass{number:04}" for number in range(601)]
    for past in ("601-700", "7-7", "99999999999999999999-999999999999999999999", "9" * 3000 + "-" + "9" * 3001):
        response = program.get("/api/v1/users/username/mass", HTTP_RANGE=f"records={past}")
        assert (response.status_code, response.content) == (404, b'{"users":[]}')
    most = program.get("/api/v1/users/username/mass", HTTP_RANGE="records=0-10000")
    assert (most.status_code, most["Content-Range"], len(names(most))) == (206, "records 0-499/*", 500)


@pytest.mark.parametrize("kind", ["username", "name", "email"])
@pytest.mark.parametrize("term", ["%FF%FE", "%C3", "abc%00def", "ab%09c%0Ad", "x" * 10_000, "%C2%85abc"])
def test_what_cannot_match_asks_no_database(
    program: world.Program, kind: str, term: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """UM23: Bad UTF-8, NUL, 10,000-character terms: 404 without search SQL."""
    with django_assert_num_queries(1):
        response = program.get(f"/api/v1/users/{kind}/{term}")
    assert (response.status_code, response.content) == (404, b'{"users":[]}')


@pytest.mark.parametrize(("kind", "longest"), [("username", 64), ("name", 513), ("email", 254)])
def test_the_longest_term_that_is_looked_for(
    program: world.Program, kind: str, longest: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """UM23: as many code points as the column holds are searched for, one more is 404 without search SQL."""
    for length, statements in ((longest, 2), (longest + 1, 1)):
        with django_assert_num_queries(statements):
            assert program.get(f"/api/v1/users/{kind}/{'x' * length}").status_code == 404


def test_broken_bytes_in_the_type(program: world.Program) -> None:
    """UM23: Bad UTF-8 anywhere behind the credentials is nobody."""
    response = program.get("/api/v1/users/%FFid/abcd")
    assert (response.status_code, response.content) == (404, b'{"users":[]}')


def test_a_reserved_letter_matches_nothing(program: world.Program) -> None:
    world.person("dotted", email="dot.ted@x.org")
    assert search(program, "email", "t\ua725ted") == []
    assert search(program, "email", "t.ted") == ["dotted"]


def test_few_statements_and_no_password_hasher(
    program: world.Program, django_assert_max_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UM24: A search by Basic or Bearer runs ≤ 3 statements and no password hasher, also with 20 networks."""
    wide = world.program(networks=", ".join(f"10.0.{number}.0/24" for number in range(19)) + ", 127.0.0.1")
    world.seed_people()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a password was hashed")

    monkeypatch.setattr("django.contrib.auth.hashers.BCryptSHA256PasswordHasher.encode", refuse)
    monkeypatch.setattr("django.contrib.auth.hashers.PBKDF2PasswordHasher.encode", refuse)
    bearer = f"Bearer {world.token(wide).json()['access_token']}"
    for each, shown in ((program, program.basic), (wide, wide.basic), (wide, bearer)):
        for path in ("username/mgatto", "name/michael+gatto", "email/mgatto"):
            with django_assert_max_num_queries(3):
                assert each.get(f"/api/v1/users/{path}", HTTP_AUTHORIZATION=shown).status_code == 200


def test_primary_address_and_none(program: world.Program) -> None:
    world.person("mailless", "No", "Mail", "")
    assert program.get("/api/v1/users/username/mailless").json()["users"][0]["email"] is None


def test_json_is_what_the_original_wrote() -> None:
    assert wire.encode({"a": ["é", "/", None]}) == b'{"a":["\\u00e9","/",null]}'
    assert json.loads(wire.NO_USERS) == {"users": []}
