"""Demo content: put there once, the same every time, through the ordinary write path."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from django.db import transaction

from core import demo, jobs
from core.models import User
from exports.invented import START, Invented
from exports.models import Organization, Repo, RepoVersion
from exports.services import exports
from exports.services.tokens import issue
from exports.writing import clock, concepts, drafts, mappings, members, places, versions

BATCH = 1000
Tell = Callable[[str], None]


def person(username: str, *, name: str, password: str | None = None, **more: Any) -> User:
    """An account of the demo, made once."""
    found = User.objects.filter(username=username).first()
    if found is not None:
        return found
    first, _, last = name.partition(" ")
    return User.objects.create_user(
        username, f"{username}@example.org", password, first_name=first, last_name=last, is_validated=True, **more
    )


def organization(mnemonic: str, name: str, *members_of: User) -> Organization:
    found = Organization.objects.filter(mnemonic=mnemonic).first()
    made = found or places.create_organization(mnemonic, {"name": name}, user=members_of[0])
    made.members.add(*members_of)
    return made


def source(owner: Organization, mnemonic: str, *, seed: int, concepts_count: int, mappings_count: int,
           name: str, access: str = "View") -> Repo:  # fmt: skip
    """A source full of invented content; one that is there is left as it is."""
    uri = f"{owner.url}sources/{mnemonic}/"
    found = Repo.objects.filter(uri=uri).first()
    if found is not None:
        return found
    changes = {
        "name": name, "full_name": f"{name} (invented)", "repo_type": "Dictionary", "public_access": access,
        "description": "Invented content for trying things out.", "supported_locales": ["en", "fr", "es", "ht", "sw"],
        "created_at": START - timedelta(days=1000), "updated_at": START - timedelta(days=1000),
        "uuid": f"{seed:024x}",
    }  # fmt: skip
    repo = places.create_repo(owner, kind="source", mnemonic=mnemonic, changes=changes, user="demo")
    invented = Invented(uri, seed=seed)
    fill(repo, invented.concepts(concepts_count), concepts.write)
    fill(repo, invented.mappings(mappings_count, concepts=concepts_count), mappings.write)
    return repo


def fill(
    repo: Repo,
    wanted: Iterator[drafts.Draft],
    write: Callable[[clock.Clock, Sequence[drafts.Draft]], list[drafts.Outcome]],
) -> None:
    """Write drafts in batches, each in its own transaction."""
    while batch := list(islice(wanted, BATCH)):
        with transaction.atomic():
            lock = clock.lock(repo.pk)
            for outcome in write(lock, batch):
                if outcome.error:
                    raise outcome.error
            lock.save()


def version(repo: Repo, name: str, *, released: bool = True, days: int = 0) -> RepoVersion:
    found = RepoVersion.objects.select_related("repo").filter(repo=repo, name=name).first()
    if found is not None:
        return found
    moment = START + timedelta(days=days)
    wanted = versions.Wanted(
        name=name, user="demo", description=f"Version {name}", released=released, uuid=f"{repo.pk:08x}-{name}"[:36],
        created_at=moment, updated_at=moment,
    )  # fmt: skip
    with transaction.atomic():
        lock = members.lock_for_cut(repo)
        made = versions.cut(lock, wanted)
        lock.save()
    return made


def collection(owner: Organization, mnemonic: str, *, name: str, of: Repo, count: int = 20) -> Repo:
    """A collection of some concepts of a source with the mappings between them."""
    uri = f"{owner.url}collections/{mnemonic}/"
    found = Repo.objects.filter(uri=uri).first()
    if found is not None:
        return found
    changes = {"name": name, "repo_type": "Dictionary", "created_at": START - timedelta(days=100),
               "updated_at": START - timedelta(days=100)}  # fmt: skip
    repo = places.create_repo(owner, kind="collection", mnemonic=mnemonic, changes=changes, user="demo")
    wanted = [f"{of.uri}concepts/{1001 + number}/" for number in range(count)]
    with transaction.atomic():
        lock = clock.lock(repo.pk)
        resolved = members.resolve(lock.repo, wanted, may_read=lambda _: True)
        more = members.cascaded(resolved, "sourcemappings")
        resolved += members.resolve(lock.repo, more, may_read=lambda _: True)
        members.save(lock, resolved, cascade="sourcemappings", username="demo")
        lock.save()
    return repo


def export(of: RepoVersion) -> None:
    """Build a version's export here and now, unless it has one."""
    made = exports.request(of, user=None).build
    if made is not None and made.job_id is not None:
        jobs.run(made.job_id)


def world(
    tell: Tell, *, seed: int = 1, concepts_count: int = 120, mappings_count: int = 400, build: bool = True
) -> None:
    """Everything ``seed_exports`` puts there."""
    author = editor()
    health = organization("DemoHealth", "Demo Health", author)
    main = source(health, "DEMO", seed=seed, name="Demo dictionary", concepts_count=concepts_count,
                  mappings_count=mappings_count)  # fmt: skip
    ciel = organization("CIEL", "CIEL-like demo", author)
    like = source(ciel, "CIEL", seed=seed + 1, concepts_count=80, mappings_count=240, name="CIEL-like dictionary")
    source(health, "Private", seed=seed + 2, concepts_count=5, mappings_count=5, name="Private notes", access="None")
    made = [version(main, "v1.0"), version(like, "v2016-08-22")]
    version(main, "v1.1", released=False, days=30)
    version(like, "v2.2", released=False, days=60)
    for owner, of in ((health, main), (ciel, like)):
        made.append(version(collection(owner, "StarterSet", name="Starter set", of=of), "v1.2"))
    tell(f"{Repo.objects.count()} repositories, {RepoVersion.objects.exclude(name='HEAD').count()} versions")
    for one in made if build else ():
        export(one)
        tell(f"export of {one.repo.uri}{one.name}/")


def editor() -> User:
    """The demo's editor; inside the demo with a password and a token that it prints."""
    made = person("demo", name="Demo Editor", password=demo.secret("exports_password") if demo.is_on() else None)
    if demo.is_on() and "exports_token" not in demo.credentials():
        demo.remember(exports_token=issue(made, label="demo", keep=10)[1])
    return made
