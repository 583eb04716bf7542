"""Invented terminology for the demo, tests and benchmarks: deterministic, multilingual, nobody's content."""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass

from exports.formats import addresses
from exports.writing import drafts

START = dt.datetime(2016, 8, 22, 10, 11, 12, 668_000, tzinfo=dt.UTC)
_SYLLABLES = {
    "en": "ar bel cor dun fel gan hol ist jen kor lum mer nov ost pel qua ren sil tor umb ven wex yar zol",
    "fr": "à bé cœ dé fê gné hî île jà ké lé mâ né où pè qué rê sé té ü vé",
    "es": "a be cí do fa gue ha i ja lo lle ma ña pe qui rra só ti u vi",
    "ht": "ab bò chè dlo eg fò gwo kè lan mè nò pye ren sè tè van wò yè zo",
    "sw": "ba chi da fu gwa ho ja ka li mwa nya ngo pa ra si ta u vu wa ya zi",
    "vi": "bệnh đau tim gan phổi máu sốt ho viêm xương mắt tai mũi họng da",
    "ar": "دم قلب كبد رئة عظم جلد عين أذن حمى سعال ألم ورم كسر حرق",
    "am": "ልብ ደም ሳንባ ጉበት አጥንት ቆዳ ዓይን ጆሮ ትኩሳት ሳል ህመም",
    "bn": "রক্ত হৃদয় ফুসফুস যকৃৎ হাড় ত্বক চোখ কান জ্বর কাশি ব্যথা",
}
_CLASSES = ("Diagnosis", "Symptom", "Test", "Drug", "Procedure", "Finding", "Question", "Misc")
_DATATYPES = ("N/A", "Numeric", "Coded", "Text", "Boolean")
_MAP_TYPES = ("SAME-AS", "NARROWER-THAN", "BROADER-THAN", "Q-AND-A", "CONCEPT-SET")
_TARGETS = ("ICD-10-WHO", "SNOMED-CT", "LOINC")


@dataclass(frozen=True)
class Invented:
    """Drafts for one source. ``source`` is its URL; every tenth row is retired."""

    source: str
    seed: int = 1
    author: str = "demo"

    def concepts(self, count: int) -> Iterator[drafts.Draft]:
        """``count`` concepts, ids from 1001."""
        for number in range(count):
            yield self._draft(str(1001 + number), number, self._concept(number))

    def mappings(self, count: int, *, concepts: int) -> Iterator[drafts.Draft]:
        """``count`` mappings between them and to sources elsewhere."""
        for number in range(count):
            yield self._draft(str(1 + number), concepts + number, self._mapping(number, concepts))

    def _draft(self, mnemonic: str, number: int, changes: dict[str, object]) -> drafts.Draft:
        moment = START - dt.timedelta(days=900) + dt.timedelta(seconds=number, microseconds=137 * number)
        own = drafts.Imported(
            uuid=f"{self.seed:04d}{number:08d}",
            version=f"{self.seed:04d}{number:08d}",
            created_at=moment,
            created_by=self.author,
            updated_at=moment,
            updated_by=self.author,
            author=self.author,
            checksums={},
            kept={},
            rank=number,
        )
        return drafts.Draft(mnemonic, changes, self.author, mode="create", imported=own)

    def _words(self, locale: str, luck: random.Random) -> str:
        parts = [luck.choice(_SYLLABLES[locale].split()) for _ in range(luck.randint(2, 4))]
        joint = " " if locale in ("vi", "ar", "am", "bn") else ""
        return joint.join(parts).capitalize()

    def _concept(self, number: int) -> dict[str, object]:
        luck = random.Random(f"{self.seed}:{number}")  # noqa: S311 (reproducible, not secret)
        locales = ["en", *luck.sample([one for one in _SYLLABLES if one != "en"], luck.randint(1, 3))]
        names = [
            {"uuid": f"n{self.seed}-{number}-{place}", "name": self._words(locale, luck), "locale": locale,
             "locale_preferred": True, "name_type": "FULLY_SPECIFIED" if locale == "en" else None}
            for place, locale in enumerate(locales)
        ]  # fmt: skip
        about = f"Invented: {self._words('en', luck)} of the {self._words('en', luck)}."
        return {
            "concept_class": luck.choice(_CLASSES),
            "datatype": luck.choice(_DATATYPES),
            "names": names,
            "descriptions": [
                {"uuid": f"d{self.seed}-{number}", "description": about, "locale": "en", "locale_preferred": True}
            ],
            "extras": {"invented": True, "weight": luck.randint(1, 99) / 10},
            "retired": number % 10 == 9,
            "parents": [self._uri(luck.randrange(number))] if number and luck.random() < 0.3 else [],
        }

    def _uri(self, number: int) -> str:
        return f"{self.source}concepts/{addresses.quoted(str(1001 + number))}/"

    def _mapping(self, number: int, concepts: int) -> dict[str, object]:
        luck = random.Random(f"{self.seed}:m:{number}")  # noqa: S311
        inside = luck.random() < 0.4
        target = luck.choice(_TARGETS)
        code = (
            str(1001 + luck.randrange(concepts))
            if inside
            else f"{luck.choice('ABCDEFGH')}{luck.randint(10, 99)}.{number}"
        )
        return {
            "map_type": luck.choice(_MAP_TYPES),
            "from_url": self._uri(luck.randrange(concepts)),
            "to_source_url": self.source if inside else f"/orgs/Elsewhere/sources/{target}/",
            "to_code": code,
            "to_name": None if inside else self._words("en", luck),
            "retired": number % 10 == 9,
            "sort_weight": float(number % 7) if number % 3 == 0 else None,
        }
