"""Other people's tools open our archives: python-dwca-reader in both versions, unzip, zipfile."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)

READ = """
import json, sys
from dwca.read import DwCAReader
with DwCAReader(sys.argv[1]) as archive:
    rows = [
        (row.id, row.rowtype, sorted(row.data.items()), [(e.rowtype, sorted(e.data.items())) for e in row.extensions])
        for row in archive
    ]
    print(json.dumps({"core": archive.descriptor.core.type, "metadata": archive.metadata.tag, "rows": rows}))
"""


@pytest.fixture
def hard_specimens(tmp_path: Path, running_house: house.House) -> None:
    """Cells with newlines, quotes and characters beyond the basic plane; media on two of three records."""
    records = [
        {
            "id": f"h{n}",
            "dwc:genus": "Acer",
            "dwc:specificEpithet": "rubrum",
            "dwc:locality": f'line "{n}",\nsecond 🌿𐍈 東京\tend',
        }
        for n in range(3)
    ]
    media = [{"coreid": f"h{n}", "dcterms:identifier": f"m{n}", "dc:description": "a\nb"} for n in range(2)]
    making.bring_in(making.archive(tmp_path, records, media))


def opened(path: Path, library: pathlib.Path | None) -> Any:
    """What python-dwca-reader sees in the archive, read in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(library)} if library else dict(os.environ)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["dwca-csv", "dwca-tsv"])
@pytest.mark.parametrize("core_type", ["records", "mediarecords", "uniquenames", "uniquelocality"])
def test_both_readers_open_every_archive(
    hard_specimens: None, tmp_path: Path, dwca_compat: pathlib.Path, form: str, core_type: str
) -> None:
    """D34: python-dwca-reader 0.16.4 and 0.17.1 open it, newlines in cells included; `unzip -t` and zipfile clean."""
    path = tmp_path / "own.zip"
    path.write_bytes(making.content(making.built({}, form=form, core_type=core_type)))
    for library in (None, dwca_compat):
        found = opened(path, library)
        assert len(found["rows"]) == {"records": 3, "mediarecords": 2, "uniquenames": 1, "uniquelocality": 3}[core_type]
        texts = json.dumps(found["rows"], ensure_ascii=False)
        assert "second 🌿𐍈 東京" in texts
        types = {row[1] for row in found["rows"]}
        assert types == {found["core"]}
        joined = [extension for row in found["rows"] for extension in row[3]]
        extensions = {"records": 3 + 4, "mediarecords": 2 + 4, "uniquenames": 6 + 4, "uniquelocality": 6 + 4}
        assert len(joined) == extensions[core_type]
    unzip = shutil.which("unzip")
    if unzip is not None:
        assert subprocess.run([unzip, "-tq", str(path)], capture_output=True, timeout=60).returncode == 0


def test_index_columns_are_those_of_the_table(hard_specimens: None) -> None:
    """D35: Columns equal 3.2, no duplicates, rows by uuid."""
    from downloads.formats import terms

    files = making.members(making.built({}))
    for name, table in (("occurrence.csv", terms.RECORD_TERMS), ("multimedia.csv", terms.MEDIA_TERMS)):
        header = files[name].decode().split("\r\n", 1)[0].split(",")
        assert header == ["coreid", *(term.header for term in table)]
        assert len(set(header)) == len(header)
    assert making.ids(files["occurrence.csv"]) == sorted(making.ids(files["occurrence.csv"]))
