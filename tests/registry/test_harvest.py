"""A whole run, from listing to swap."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry.demo import source as demo_source
from registry.formats import samples
from registry.models import Harvest, Record
from tests.registry.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("style", [*demo_source.STYLES, "erddap", "csw"])
def test_styles(style: str, add_harvest: Callable[..., Harvest], source: demo_source.Source) -> None:
    """X30: all listing styles, an ERDDAP page and a catalogue yield the same documents."""
    if style == "erddap":
        source.files = {name.rpartition("/")[2]: document for name, document in source.files.items()}
    harvest = add_harvest(style)
    made = run(harvest)
    assert (made.state, made.failure_code, made.failure_message) == ("ok", "", "")
    assert (harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count) == (6, 6, 0)
    titles = set(Record.objects.values_list("file_id", flat=True))
    assert titles == {samples.identifier(number) for number in range(6)}
