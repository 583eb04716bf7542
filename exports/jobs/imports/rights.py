"""Who imports, and what they may write; asked per record, answered by the one rights function."""

from functools import cache

from core import errors
from core.models import User
from exports.models import Organization, Repo
from exports.selectors import access


class Importer:
    """The person behind an import; None is the operator at the command line, who may do everything."""

    def __init__(self, user: User | None) -> None:
        self.user = user
        self.name = user.username if user else "admin"
        self.keeps_authors = user is None or user.is_staff
        self._member_of = cache(lambda: access.organizations_of(user))

    def refresh(self) -> None:
        """Memberships may have changed: the import itself made an organization."""
        self._member_of.cache_clear()

    def may(self, what: str, repo: Repo) -> bool:
        if self.user is None:
            return True
        return bool(getattr(access.over_repo(self.user, repo, member_of=self._member_of()), what))

    def demand(self, what: str, repo: Repo) -> None:
        if not self.may(what, repo):
            raise errors.Denied

    def demand_owner(self, owner: Organization | User) -> None:
        """May create repositories for this owner."""
        if self.user is None or self.user.is_staff:
            return
        mine = owner.pk in self._member_of() if isinstance(owner, Organization) else owner.pk == self.user.pk
        if not mine:
            raise errors.Denied
