"""Records per CPU second of an ingest: first time into an empty store, then the same archive again.

The archive is one provider's samples (--records); CPU of this process and PostgreSQL together. Target: contract 9.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

from benchmarks import measure


def main() -> None:
    sizes = measure.arguments(__doc__, records=200_000)
    with measure.house() as house, tempfile.TemporaryDirectory(prefix="quincunx-bench-") as name:
        from downloads import services
        from downloads.formats import samples
        from downloads.jobs import ingest

        path = _one_archive(pathlib.Path(name), sizes.records)
        runs = {}
        rows = 0
        for run in ("first", "again"):
            with measure.used(postgres=house.postgres_pid) as runs[run]:
                _run, report = services.import_archive(str(path), ingest.Options())
            rows = report.read
            measure.say(f"{run}: {report.added} added, {report.unchanged} unchanged, {report.rejects} rejected")
        python = runs["first"].cpu["self"]
        measure.report(
            f"Ingest of {rows:,} rows of {samples.PROVIDERS[0].title}",
            [
                measure.Row("rows per CPU second, first time", rows / runs["first"].cpu_total, target=10_000),
                measure.Row("rows per CPU second of the ingesting process", rows / python),
                measure.Row("rows per CPU second, again", rows / runs["again"].cpu_total),
                measure.Row("MiB at most, ingesting process", runs["first"].peak["self"]),
            ],
            **runs,
        )


def _one_archive(folder: pathlib.Path, records: int) -> pathlib.Path:
    """The first provider's archive with that many records."""
    from downloads.formats import samples
    from downloads.formats.samples import archives

    alone = dataclasses.replace(samples.PROVIDERS[0], share=1.0)
    path = folder / alone.file
    archives.write(alone, path, records=records, seed=1)
    return path


if __name__ == "__main__":
    main()
