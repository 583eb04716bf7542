"""Signed links: ours against boto3's presigner, CPU per link (target of the nnels contract: at most a tenth)."""

import os
import time
from collections.abc import Callable

from benchmarks import measure


def main() -> None:
    sizes = measure.arguments(__doc__, links=20_000, boto3_links=1_500)
    settings = {"DEBUG": "1", "SECRET_KEY": "x", "S3_ACCESS_KEY_ID": "a" * 20, "S3_SECRET_ACCESS_KEY": "s" * 40}
    os.environ.update(settings, DJANGO_SETTINGS_MODULE="core.settings", LOG_LEVEL="WARNING")
    import django

    django.setup()
    from django.conf import settings as configured

    from core import blobs
    from core.blobs import client

    key, name, kind = "nnels/files/6804/títle part 1.epub", "Title_words_9780142437247.epub", "application/epub+zip"
    s3, signer = client.client(), blobs.signer()
    parameters = {
        "Bucket": configured.S3_BUCKET,
        "Key": key,
        "ResponseContentDisposition": blobs.disposition(name),
        "ResponseContentType": kind,
    }

    def theirs() -> str:
        return s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=3600)

    def full() -> str:
        return signer.url(key, 3600, filename=name, content_type=kind)

    def bare() -> str:
        return signer.url(key, 3600)

    slow, fast, plain = each(theirs, sizes.boto3_links), each(full, sizes.links), each(bare, sizes.links)
    measure.report(
        "Signed links, CPU microseconds each",
        [
            measure.Row("with name and type", fast, limit=slow, target=0.1, less_is_better=True),
            measure.Row("bare", plain),
        ],
    )


def each(act: Callable[[], str], times: int) -> float:
    """CPU microseconds of one call."""
    act()
    started = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - started) / times * 1e6


if __name__ == "__main__":
    main()
