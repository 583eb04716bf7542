"""`query_hash`, `hash` and the keys of jobs and builds (contract §2.8, §3.1)."""

import itertools
from typing import Any

import pytest

from downloads.selectors import hashes, request

EMPTY = "6ae92febd5395843c246b7aef7cc1eb583029933", "e637591751f8ac5e57979cf772048bc0858cc897"
IMAGE = "2b37d0883a6cee6229f20c7ff014058cc0a451ee", "4e9a2d94d6dbf61a7c53e3ebf73c2b3560c52550"
GENERA = "3567264506cbb5fd3deb1ac12bf871949dc797ff", "e643cb52a2534008082366851da52cacce7495cf"
VECTORS: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({}, ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "4826c1cde80a5598978952ab1320d575640ec948")),
    ({"genus": "acer"}, ("c91957c034f2a8c42796584c27ba3416acf81d94", "8bc4f9dfcd0f26a84bd031fb62c9241332dfefb9")),
    ({"genus": "Acer"}, ("ed946d428c31cc3e26bb88c9ed548d54b475572c", "410f1a89c5843f10c7ad070cb642cc1053939f76")),
    (
        {"scientificname": "puma concolor"},
        ("5921ce268fe0d911196a4564eea8ce9ffc2e2420", "510ae77e9e547bc0457ca4d668749419f7bbf243"),
    ),
    ({"genus": ["acer", "quercus"]}, GENERA),
    ({"genus": ["quercus", "acer"]}, GENERA),
    ({"hasImage": True}, IMAGE),
    ({"hasImage": "True"}, IMAGE),
    (
        {"locality": "río ñandú 東京"},
        ("d487cb78053743dfd923e6925313fcd46ee462b5", "ae8d9948a1dce3743d165716e8829f7e0d6bfec2"),
    ),
    ({"genus": ""}, EMPTY),
    ({"genus": []}, EMPTY),
    ({"genus": None}, EMPTY),
]


@pytest.mark.parametrize(("query", "expected"), VECTORS, ids=[str(query) for query, _ in VECTORS])
def test_vectors(query: dict[str, Any], expected: tuple[str, str]) -> None:
    """D5: every vector of §2.8, as `query_hash` and as `hash` with the other six at their defaults."""
    asked = request.DownloadRequest(face="v2", rq=query)
    assert (asked.query_hash, asked.hash) == expected


def test_numbers_hash_by_their_python_spelling() -> None:
    """D5: 2 and 1.0 are hashed as Python prints them."""
    assert hashes.query_hash({"minelevation": 2}) == hashes.query_hash({"minelevation": "2"})
    assert hashes.query_hash({"minelevation": 1.0}) == hashes.query_hash({"minelevation": "1.0"})
    assert hashes.query_hash({"minelevation": 1.0}) != hashes.query_hash({"minelevation": 1})


def test_collision_is_not_a_key() -> None:
    """D6: the colliding pair has one `query_hash` and two keys."""
    pair: list[dict[str, Any]] = [{"genus": ["acer"]}, {"genus": "c0a9d747b1b7340daacdd3f411624fd2694cad12"}]
    asked = [request.DownloadRequest(face="seed", rq=query, normal_rq=query) for query in pair]
    assert asked[0].query_hash == asked[1].query_hash
    assert asked[0].request_key(1) != asked[1].request_key(1)
    assert asked[0].build_key(1) != asked[1].build_key(1)


def test_request_key_ignores_order_only() -> None:
    one = request.DownloadRequest(face="v2", rq={"a": ["x", "y"], "b": 1})
    same = request.DownloadRequest(face="v2", rq={"b": 1, "a": ["y", "x"]})
    assert one.request_key(1) == same.request_key(1)
    others: list[dict[str, Any]] = [
        {"a": ["x", "y"], "b": 1.0},
        {"a": ["x", "y"], "b": True},
        {"a": ["X", "y"], "b": 1},
    ]
    keys = {request.DownloadRequest(face="v2", rq=rq).request_key(1) for rq in [*others, one.rq]}
    assert len(keys) == 4
    assert one.request_key(2) != one.request_key(1)


def test_options_are_in_the_keys() -> None:
    """D8: what changes the bytes changes the key; what does not (address, face, force) does not."""
    base: dict[str, Any] = {"face": "v2", "rq": {}, "normal_rq": {}}
    changing: list[dict[str, Any]] = [
        {},
        {"core_type": "mediarecords"},
        {"core_source": "raw"},
        {"form": "csv"},
        {"record_fields": ["genus"]},
        {"mediarecord_fields": []},
        {"compression": "small"},
        {"since": "5d9f3e3e-4a0f-4d5e-8f6a-000000000000"},
        {"spreadsheet_safe": True},
        {"mq": {}, "normal_mq": {}},
    ]
    asked = [request.DownloadRequest(**base | extra) for extra in changing]
    for one, two in itertools.combinations(asked, 2):
        assert one.build_key(1) != two.build_key(1)
        assert one.request_key(1) != two.request_key(1)
    mailed = request.DownloadRequest(**base | {"email": "a@example.org", "face": "seed", "force": True})
    assert mailed.build_key(1) == asked[0].build_key(1)


def test_json_round_trip_keeps_order_and_number_form() -> None:
    """D3: what a job stores echoes key order, case and number form."""
    asked = request.DownloadRequest(face="seed", rq={"b": 1.0, "a": [2, "É", 10**30]}, email="a@example.org")
    back = request.DownloadRequest.from_json(asked.to_json())
    assert back == asked
    assert back.rq is not None
    assert list(back.rq) == ["b", "a"]
    assert isinstance(back.rq["b"], float)
