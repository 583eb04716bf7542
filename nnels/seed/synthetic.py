"""Synthetic titles for measurements: as many as asked for, the same ones on every run, shaped like a real catalogue.

Words follow a flattened Zipf law (Mandelbrot's): of 100,000 titles the commonest word is in about one of forty, half of
the 12,000 words in a handful each. Subject headings are few and some very common: "Fiction" is on every second title.
So searches have none, few, many and very many hits, as they do in a library.
"""

import bisect
import dataclasses
import hashlib
import itertools
import random
import uuid as uuids
from collections.abc import Sequence

from django.db import transaction

from core import blobs
from nnels import models
from nnels.formats import isbn, metadata, recognise
from nnels.jobs import catalogue
from nnels.seed import build, library

BATCH = 2000
_ENGLISH = (
    "winter river house shadow journey island garden whale forest city harbour letter daughter mountain ancient hidden "
    "white golden silent northern broken distant burning quiet last lost green love war night history guide secret "
    "queen road stone summer mother world children dream fire dog heart land story sea light"
)
_FRENCH = (
    "hiver rivière maison ombre voyage île jardin baleine forêt ville port lettre fille montagne été québécois blanche "
    "perdue secret nuit guerre amour histoire reine route pierre mère monde enfants rêve feu coeur terre mer lumière"
)
_FAMILIES = "Tremblay Gagnon Melville Roy Côté Bouchard Smith Brown Martin Lee Wilson Gauthier Morin Dubé"
_GIVEN = (
    "Anne Jean Marie Herman Émile Louise John Sarah Thomas Zoé François Ruth Noël Alice David Margaret Robert Emma "
    "Michael Claire Peter Nancy Paul Diane George Helen Marc Julie James Susan"
)
_SUBJECTS = "Fiction|History|Biography|Detective stories|Canada|Québec|Poetry|Cooking|Science|Music|Travel|Whaling"
_ONSETS = "b br c ch d dr f fl g gr h j l m n p pl qu r s st t tr v w"
_VOWELS = "a e i o u ai ea ou"
_CODAS = ["", "l", "n", "nt", "r", "rd", "s", "st", "ck", "m"]


@dataclasses.dataclass(frozen=True)
class Words:
    """Words by rank; a word of rank r is drawn with a weight of 1 / (r + flat)."""

    known: Sequence[str]
    cumulated: Sequence[float]

    def draw(self, dice: random.Random) -> str:
        """One word."""
        return self.known[bisect.bisect(self.cumulated, dice.random() * self.cumulated[-1])]


def _vocabulary(first: Sequence[str], size: int, *, flat: float, ends: Sequence[str]) -> Words:
    """`first` among the commonest, the rest made of syllables."""
    dice = random.Random(size)  # noqa: S311 - the same words on every run
    onsets, vowels = _ONSETS.split(), _VOWELS.split()
    known = dict.fromkeys(first)
    while len(known) < size:
        syllables = (
            dice.choice(onsets) + dice.choice(vowels) + dice.choice(_CODAS) for _ in range(dice.choice((1, 2, 2, 3)))
        )
        known.setdefault("".join(syllables) + dice.choice(ends))
    return Words(list(known), list(itertools.accumulate(1 / (rank + flat) for rank in range(1, size + 1))))


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Everything titles are drawn from."""

    english: Words
    french: Words
    families: Words
    given: Words
    subjects: Words

    @classmethod
    def make(cls) -> "Corpus":
        """The same corpus on every run."""
        english = _vocabulary(_ENGLISH.split(), 12_000, flat=30, ends=("", "", "s", "ing", "ed", "er"))
        return cls(
            english=english,
            french=_vocabulary(_FRENCH.split(), 6_000, flat=30, ends=("", "e", "es", "eur", "tion", "é")),
            families=_vocabulary(_FAMILIES.split(), 8_000, flat=60, ends=("", "son", "ard")),
            given=_vocabulary(_GIVEN.split(), 300, flat=5, ends=("", "a", "ine")),
            subjects=_vocabulary([*_SUBJECTS.split("|"), *english.known[:400]], 412, flat=0.3, ends=("",)),
        )

    def item(self, number: int) -> models.Item:
        """Title `number`, the same on every run."""
        dice = random.Random(number)  # noqa: S311 - the same title on every run
        is_french = number % 5 == 0
        words = self.french if is_french else self.english
        drawn = [words.draw(dice) for _ in range(dice.choice((1, 2, 2, 3, 3, 4, 6)))]
        glue = ("", "de la ", "et ") if is_french else ("", "", "of the ", "and ")
        label = " ".join([drawn[0], *(dice.choice(glue) + word for word in drawn[1:])])
        subjects = dict.fromkeys(self.subjects.draw(dice) for _ in range(dice.choice((1, 2, 3, 4))))
        number_12 = f"978{number:09}"
        return models.Item(
            uuid=uuids.uuid5(metadata.NAMESPACE, f"bulk:{number}"),
            label=f"{label[0].upper()}{label[1:]} {number}" if number % 50 == 0 else label.capitalize(),
            creators=[self._creator(dice) for _ in range(dice.choice((1, 1, 1, 2)))],
            languages=["fra" if is_french else "eng"],
            isbn=[number_12 + isbn.check_13(number_12)] if number % 3 else [],
            published_date=str(1900 + number % 125),
            subjects=[one.capitalize() for one in subjects],
            description=" ".join(words.draw(dice) for _ in range(40)).capitalize() + ".",
            rights="open" if number % 10 == 0 else "restricted",
            accessibility=build.ACCESSIBILITY,
            source="bulk",
        )

    def _creator(self, dice: random.Random) -> str:
        return f"{self.families.draw(dice).capitalize()}, {self.given.draw(dice).capitalize()}"


def bulk(count: int, *, files_each: int = 4) -> int:
    """Add synthetic titles up to `count`; their files share the blobs of one seeded work."""
    made = models.Item.objects.filter(source="bulk").count()
    if made >= count:
        return made
    corpus = Corpus.make()
    shared = _shared_contents()[:files_each]
    while made < count:
        numbers = range(made, min(count, made + BATCH))
        with transaction.atomic():
            _batch([corpus.item(number) for number in numbers], shared)
        made += len(numbers)
    build.restart_sequence()
    return made


def _shared_contents() -> list[tuple[str, bytes]]:
    shared = list(build.contents(library.WORKS[0]).items())
    for code, content in shared:
        blobs.put(f"nnels/bulk/{code}.{recognise.EXTENSIONS[code]}", content, recognise.MEDIA_TYPES[code])
    return shared


def _batch(titles: list[models.Item], shared: list[tuple[str, bytes]]) -> None:
    items = models.Item.objects.bulk_create(titles)
    files = []
    for code, content in shared:
        digest = hashlib.sha256(content).hexdigest()
        key = f"nnels/bulk/{code}.{recognise.EXTENSIONS[code]}"
        files += [
            models.File(
                item=item, format=code, media_type=recognise.MEDIA_TYPES[code], name="", bytes=len(content),
                sha256=digest, blob_key=key,
            )
            for item in items
        ]  # fmt: skip
    models.File.objects.bulk_create(files)
    catalogue.refresh([item.pk for item in items])
    catalogue.bump()
