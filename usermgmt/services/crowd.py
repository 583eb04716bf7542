"""The load-test directory: any number of made-up people, 27 % of them with names in other scripts than Latin."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator

from django.db import connection, transaction
from django.utils import timezone

from core import names
from core.models import User
from usermgmt.services import bulk

_COPY_BATCH = 20_000

_LATIN_FIRST = [
    "James",
    "Mary",
    "John",
    "Linda",
    "Robert",
    "Susan",
    "Michael",
    "Karen",
    "David",
    "Lisa",
    "Carlos",
    "Sofía",
    "José",
    "Ana",
    "Luis",
    "Marta",
    "Hans",
    "Anke",
    "Jürgen",
    "Renée",
    "Pierre",
    "Chloé",
    "Marco",
    "Giulia",
    "Paolo",
    "Erik",
    "Ingrid",
    "Lars",
    "Jan",
    "Zofia",
    "Piotr",
    "Katarzyna",
    "Tomáš",
    "Jana",
    "Mehmet",
    "Ayşe",
    "Emre",
    "Thị",
    "Văn",
    "Minh",
    "Priya",
    "Rahul",
    "Anita",
    "Amina",
    "Kwame",
    "Ngozi",
    "Juan",
    "Maria",
    "Peter",
    "Laura",
    "Daniel",
    "Emma",
    "Oliver",
    "Lucas",
    "Noah",
    "Olivia",
]
_LATIN_LAST = [
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Rodriguez",
    "Martínez",
    "Hernández",
    "López",
    "González",
    "Wilson",
    "Anderson",
    "Thomas",
    "Taylor",
    "Moore",
    "Jackson",
    "Martin",
    "Lee",
    "Pérez",
    "Thompson",
    "White",
    "Harris",
    "Sánchez",
    "Clark",
    "Ramírez",
    "Lewis",
    "Robinson",
    "Walker",
    "Young",
    "Allen",
    "King",
    "Wright",
    "Scott",
    "Torres",
    "Nguyễn",
    "Hill",
    "Flores",
    "Green",
    "Adams",
    "Nelson",
    "Baker",
    "Hall",
    "Rivera",
    "Campbell",
    "Mitchell",
    "Müller",
    "Schmidt",
    "Schneider",
    "Fischer",
    "Weber",
    "Meyer",
    "Dubois",
    "Lefèvre",
    "Rossi",
    "Ferrari",
    "Kowalski",
    "Nowak",
    "Novák",
    "Yılmaz",
    "Kaya",
    "Patel",
]
_SCRIPTS: list[tuple[list[str], list[str]]] = [
    (
        ["احمد", "محمد", "فاطمة", "علي", "يوسف", "مريم", "عمر", "ليلى", "حسن", "خالد", "سارة", "نور"],
        ["صفيان", "حسن", "منصور", "الزهراء", "كمال", "عبدالله", "إبراهيم", "النجار", "الخطيب", "سليمان", "حداد"],
    ),
    (
        [
            "伟",
            "芳",
            "娜",
            "敏",
            "静",
            "丽",
            "强",
            "磊",
            "军",
            "洋",
            "勇",
            "艳",
            "杰",
            "小明",
            "秀英",
            "建国",
            "志强",
            "晓东",
            "海燕",
            "文博",
        ],
        [
            "王",
            "李",
            "张",
            "刘",
            "陈",
            "杨",
            "赵",
            "黄",
            "周",
            "吴",
            "徐",
            "孙",
            "胡",
            "朱",
            "高",
            "林",
            "何",
            "郭",
            "马",
            "欧阳",
        ],
    ),
    (
        ["민준", "서연", "도윤", "서준", "하은", "지호", "지우", "예은", "시우", "수아"],
        ["김", "이", "박", "최", "정", "강", "조", "윤", "장", "임"],
    ),
    (
        ["太郎", "花子", "翔太", "陽菜", "さくら", "健一", "美咲", "ケンジ", "大輔", "直樹"],
        ["佐藤", "鈴木", "高橋", "田中", "渡辺", "伊藤", "山本", "中村", "小林", "加藤"],
    ),
    (
        ["Андрей", "Наталья", "Иван", "Ольга", "Сергей", "Елена", "Дмитрий", "Анна", "Алексей", "Татьяна"],
        ["Иванов", "Смирнов", "Кузнецов", "Попов", "Соколов", "Лебедев", "Козлов", "Новиков", "Морозов", "Шевченко"],
    ),
    (
        ["Νίκος", "Ελένη", "Γιώργος", "Μαρία", "Κώστας", "Σοφία"],
        ["Παπαδόπουλος", "Γεωργίου", "Οικονόμου", "Νικολάου", "Δημητρίου"],
    ),
    (
        ["प्रिया", "राहुल", "अमित", "सुनीता", "विजय", "अनिता"],
        ["शर्मा", "वर्मा", "सिंह", "गुप्ता", "कुमार", "पटेल"],
    ),
]
_HOSTS = (
    ["example.edu"] * 30
    + [f"university{number}.example.edu" for number in range(40)]
    + [f"lab{number}.example.org" for number in range(20)]
    + ["mail.example.com"] * 10
)


def grow(count: int) -> int:
    """Bring the directory to `count` people, 27 % of them with names in other scripts than Latin; how many are new.

    Deterministic: the n-th person is always the same.
    """
    have = User.objects.filter(username__startswith="crowd", username__contains="-").count()
    made = 0
    numbers = iter(range(have, count))
    while batch := list(itertools.islice(numbers, _COPY_BATCH)):
        with transaction.atomic():
            _copy(batch)
        made += len(batch)
    if made:
        bulk.settle()
    return made


def _copy(numbers: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM core_user")
        (highest,) = cursor.fetchone() or (0,)
    people = [(highest + 1 + place, number, *invent(number)) for place, number in enumerate(numbers)]
    bulk.insert(user_rows(people), address_rows(people))
    bulk.move_sequence()


Invented = tuple[int, int, str, str, str, str]


def invent(number: int) -> tuple[str, str, str, str]:
    """User name, given name, family name and address of the n-th person of the crowd."""
    dice = random.Random(number)  # noqa: S311 - the same crowd every time is the point
    firsts, lasts = dice.choice(_SCRIPTS) if dice.random() < 0.27 else (_LATIN_FIRST, _LATIN_LAST)
    first, last = dice.choice(firsts), dice.choice(lasts)
    if dice.random() < 0.12:
        first += " " + dice.choice(firsts)
    latin = names.normalise(f"{dice.choice(_LATIN_FIRST)[:1]}{dice.choice(_LATIN_LAST)}").replace(" ", "")
    stem = "".join(char for char in latin if char.isascii() and char.isalnum())
    username = f"crowd-{stem}{number}"
    address = f"{stem}.{number}@{dice.choice(_HOSTS)}"
    return username, first, last, address


def user_rows(people: Iterable[Invented]) -> Iterator[bulk.Row]:
    """The people (id, number and what `invent` gives) as `bulk.USER_COLUMNS` of their table."""
    now = timezone.now()
    for pk, number, username, first, last, address in people:
        yield bulk.user_row(
            pk,
            username,
            now=now,
            uid=f"{number:017d}",
            first_name=first,
            last_name=last,
            email=address,
            institution="University of Arizona" if number % 3 == 0 else None,
            position="Student" if number % 4 == 0 else None,
            password="!crowd",  # noqa: S106 - one that no password matches
        )


def address_rows(people: Iterable[Invented]) -> Iterator[bulk.Row]:
    """Their addresses as `bulk.ADDRESS_COLUMNS`."""
    now = timezone.now()
    return (bulk.address_row(pk, address, is_primary=True, now=now) for pk, _, _, _, _, address in people)
