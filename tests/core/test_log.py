"""Log lines hold no secret: neither under a telling key nor inside a path or URL."""

from __future__ import annotations

import pytest

from core import log


@pytest.mark.parametrize(
    ("key", "value", "masked"),
    [
        ("authorization", "Basic abc", "***"),
        ("Password", "hunter2", "***"),
        ("path", "/api/refresh-token/s3cr3t", "/api/refresh-token/***"),
        ("path", "/api/refresh-token/s3cr3t/", "/api/refresh-token/***/"),
        ("path", "/portal/reveal/s3cr3t", "/portal/reveal/***"),
        ("path", "/exports/dl/7f0c/CIEL.tgz", "/exports/dl/***/CIEL.tgz"),
        ("path", "/api/x?access_token=s3cr3t&page=2", "/api/x?access_token=***&page=2"),
        ("path", "/api/x?page=2&access-token=s3cr3t", "/api/x?page=2&access-token=***"),
        (
            "url",
            "http://s3/b/k?X-Amz-Credential=ak&X-Amz-Signature=s3cr3t",
            "http://s3/b/k?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("path", "/accounts/password/reset/NDI/s3cr3t-t0ken/", "/accounts/password/reset/NDI/***/"),
        ("path", "/downloads/fields", "/downloads/fields"),
    ],
)
def test_secrets_are_masked(key: str, value: str, masked: str) -> None:
    assert log.mask_secrets(None, "info", {key: value}) == {key: masked}
