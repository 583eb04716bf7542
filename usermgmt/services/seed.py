"""Demo data (contract 6): the seed's people, others in many scripts, an API, services, a client in each state."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from core import demo
from core.models import EmailAddress, User
from usermgmt.jobs import pairs
from usermgmt.models import Api, ApiClient, ApiLink, ClientCredential, Maintainer, Service
from usermgmt.services import bulk, clients

API_SLUG = "user-api"
OWNER = "amal"
REVIEWER = "reviewer"

# username, first, last, address, institution, position
PEOPLE: list[tuple[str, str, str, str, str | None, str | None]] = [
    ("mgatto10", "احمد", "صفيان", "mgatto10@email.arizona.edu", None, "Kaatib"),
    ("mgatto30", "Michael", "Gatto", "mgatto10@iplantcollaborative.org", "Iplant", "Programmer, Senior"),
    ("jadams", "John", "Adams", "jadams@example.org", None, None),
    ("amal", "Amal", "Haddad", "amal@example.org", "University of Arizona", "Research software engineer"),
    ("reviewer", "Robin", "Reyes", "reviewer@example.org", "CyVerse", "Support"),
    ("fatima", "فاطمة", "الزهراء", "fatima@example.com", "جامعة القاهرة", None),
    ("yusuf_k", "يوسف", "كمال", "yusuf.k@example.com", None, "باحث"),
    ("layla", "ليلى", "منصور", "layla@example.com", None, None),
    ("omar.h", "عمر", "حسن", "omar.h@example.com", None, None),
    ("wangxm", "小明", "王", "wangxm@example.cn", "北京大学", "教授"),
    ("liwei", "伟", "李", "liwei@example.cn", "清华大学", None),
    ("zhangmin", "敏", "张", "zhangmin@example.cn", None, None),
    ("chenjing", "静", "陈", "chenjing@example.cn", None, None),
    ("kimminjun", "민준", "김", "minjun@example.kr", "서울대학교", None),
    ("leeseoyeon", "서연", "이", "seoyeon@example.kr", None, None),
    ("parkjiho", "지호", "박", "jiho@example.kr", None, None),
    ("tanaka", "太郎", "田中", "tanaka@example.jp", "東京大学", "助教"),
    ("suzuki", "花子", "鈴木", "suzuki@example.jp", None, None),
    ("sakura", "さくら", "佐藤", "sakura@example.jp", None, None),
    ("kenji", "ケンジ", "山本", "kenji@example.jp", None, None),
    ("andrey", "Андрей", "Иванов", "andrey@example.ru", "МГУ", None),
    ("natalia", "Наталья", "Кузнецова", "natalia@example.ru", None, "Доцент"),
    ("dmytro", "Дмитро", "Шевченко", "dmytro@example.ua", None, None),
    ("olena", "Олена", "Коваленко", "olena@example.ua", None, None),
    ("nikos", "Νίκος", "Παπαδόπουλος", "nikos@example.gr", "Πανεπιστήμιο Αθηνών", None),
    ("eleni", "Ελένη", "Γεωργίου", "eleni@example.gr", None, None),
    ("istanbul_lab", "İsmail", "Işık", "ismail@example.tr", None, None),
    ("gokce", "Gökçe", "Yıldız", "gokce@example.tr", "Boğaziçi Üniversitesi", None),
    ("lukasz", "Łukasz", "Wójcik", "lukasz@example.pl", None, None),
    ("zofia", "Zofia", "Dąbrowska", "zofia@example.pl", "Uniwersytet Jagielloński", None),
    ("nguyenva", "Văn An", "Nguyễn", "nguyenva@example.vn", None, None),
    ("tranthib", "Thị Bích", "Trần", "tranthib@example.vn", None, None),
    ("priya", "प्रिया", "शर्मा", "priya@example.in", None, None),
    ("rahul", "राहुल", "वर्मा", "rahul@example.in", "भारतीय प्रौद्योगिकी संस्थान", None),
    ("somchai", "สมชาย", "ใจดี", "somchai@example.th", None, None),
    ("malee", "มาลี", "ศรีสุข", "malee@example.th", None, None),
    ("jose.g", "José", "García", "jose.g@example.es", None, None),
    ("juancarlos", "Juan Carlos", "de la Cruz", "jcdelacruz@example.mx", "UNAM", None),
    ("mariajose", "María José", "Núñez", "mjnunez@example.es", None, None),
    ("muller", "Jürgen", "Müller", "mueller@example.de", None, None),
    ("strasse", "Anke", "Weißstraße", "anke@example.de", None, None),
    ("soren", "Søren", "Kjærgaard", "soren@example.dk", None, None),
    ("gudrun", "Guðrún", "Þórsdóttir", "gudrun@example.is", None, None),
    ("oconnor", "Siobhán", "O'Connor", "oconnor@example.ie", None, None),
    ("dangelo", "Chiara", "D'Angelo", "dangelo@example.it", None, None),
    ("obrien", "Patrick", "O’Brien", "obrien@example.ie", None, None),
    ("francois", "François", "L'Hôpital", "francois@example.fr", None, None),
    ("zoe", "Zoë", "Lefèvre", "zoe@example.fr", None, None),
    ("joao", "João", "Conceição", "joao@example.pt", None, None),
    ("ines", "Inês", "Simões", "ines@example.br", None, None),
    ("dvorak", "Jiří", "Dvořák", "dvorak@example.cz", None, None),
    ("erdos", "Pál", "Erdős", "erdos@example.hu", None, None),
    ("dorde", "Đorđe", "Petrović", "dorde@example.rs", None, None),
    ("aasen", "Åse", "Aasen", "aasen@example.no", None, None),
    ("smith_a", "Alice", "Smith", "alice.smith@example.edu", "University of Arizona", "Student"),
    ("smith_b", "Bob", "Smith", "bob.smith@example.edu", None, None),
    ("johnson", "Grace", "Johnson", "grace@example.edu", None, "Postdoc"),
    ("acarter", "Ada", "Carter", "ada.carter@example.edu", None, None),
    ("mdavis", "Miles", "Davis", "miles@example.edu", None, None),
    ("wlee", "Wei", "Lee", "wlee@example.edu", None, None),
    ("apatel", "Asha", "Patel", "apatel@example.edu", None, None),
    ("nobody_yet", "Nora", "Unvalidated", "nora@example.edu", None, None),
    ("hermit", "Henry", "Hidden", "henry@example.edu", None, None),
]
WANTED_IDS = {"mgatto10": 1, "mgatto30": 2}
MORE_ADDRESSES = {
    "mgatto30": ["mgatto30@example.org"],
    "jadams": ["john.adams+lists@example.edu"],
    "wangxm": ["xiaoming.wang@example.edu"],
    "muller": ["juergen@example.edu"],
}


def run() -> tuple[str, str] | None:
    """Make what is missing; the key and secret of the approved client when it was made now, else None."""
    with transaction.atomic():
        for row in PEOPLE:
            _person(*row)
        api = _api()
        _services(api.maintainer)
        return _clients(api)


def _person(username: str, first: str, last: str, address: str, institution: str | None, position: str | None) -> None:
    if User.objects.filter(username=username).exists():
        return
    if EmailAddress.objects.filter(address__iexact=address).exists():
        address = f"{username}@seed.example.org"
    wanted = WANTED_IDS.get(username)
    fields: dict[str, Any] = {"pk": wanted} if wanted and not User.objects.filter(pk=wanted).exists() else {}
    user = User.objects.create_user(
        username,
        address,
        demo.secret(username) if username in (OWNER, REVIEWER) else None,
        first_name=first,
        last_name=last,
        institution=institution,
        position=position,
        is_validated=username != "nobody_yet",
        hide_from_directory=username == "hermit",
        is_staff=username == REVIEWER,
        **fields,
    )
    for more in MORE_ADDRESSES.get(username, []):
        if not EmailAddress.objects.filter(address__iexact=more).exists():
            EmailAddress(user=user, address=more, is_verified=True).save()
    if fields:
        bulk.move_sequence()


def _api() -> Api:
    maintainer, _ = Maintainer.objects.get_or_create(
        name="CyVerse Support", defaults={"email": "support@example.org", "url": "https://cyverse.example.org"}
    )
    api, _ = Api.objects.get_or_create(
        slug=API_SLUG,
        defaults={
            "name": "User API",
            "description": "Find CyVerse users by user name, name or e-mail address, and add services to accounts.",
            "icon": "U",
            "maintainer": maintainer,
        },
    )
    ApiLink.objects.get_or_create(api=api, event=ApiLink.Event.HELP, defaults={"url": "/docs/#usermgmt"})
    ApiLink.objects.get_or_create(api=api, event=ApiLink.Event.EMAIL, defaults={"url": f"mailto:{maintainer.email}"})
    return api


def _services(maintainer: Maintainer) -> None:
    for slug, name, description in (
        ("coge", "CoGe", "Comparative genomics."),
        ("atmosphere", "Atmosphere", "Virtual machines for research."),
    ):
        Service.objects.get_or_create(
            slug=slug,
            defaults={
                "name": name,
                "description": description,
                "maintainer": maintainer,
                "access_url": f"https://{slug}.example.org",
                "approval_policy": Service.Approval.AUTO if slug == "coge" else Service.Approval.STAFF,
            },
        )


def _clients(api: Api) -> tuple[str, str] | None:
    owner, reviewer = User.objects.get(username=OWNER), User.objects.get(username=REVIEWER)
    shown = None
    for state in ApiClient.State.values:
        name = f"Demo client, {state}"
        if owner.api_clients.filter(name=name).exists():
            continue
        form = clients.Form(
            name=name,
            description=f"Shows what a client looks like that is {state}.",
            url="https://collaborators.example.org/about",
            networks="127.0.0.1, ::1",
            data_use="To suggest collaborators while people fill in a form.",
        )
        client = clients.register(owner=owner, api=api, form=form)
        _bring(client, state, reviewer)
        if state == ApiClient.State.APPROVED:
            credential = ClientCredential.objects.get(client=client)
            shown = (credential.key, pairs.arm(credential))
    return shown


def _bring(client: ApiClient, state: str, reviewer: User) -> None:
    """Take a pending client to a state along the allowed moves."""
    if state == ApiClient.State.DENIED:
        clients.deny(client, actor=reviewer, reason="Please say which of the found data you store, and for how long.")
    elif state != ApiClient.State.PENDING:
        clients.approve(client, actor=reviewer)
    if state == ApiClient.State.SUSPENDED:
        clients.suspend(client, actor=reviewer, reason="Unusual volume.")
    elif state == ApiClient.State.REVOKED:
        clients.revoke(client, actor=client.owner)
