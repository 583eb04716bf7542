"""What the pages share: who acts, what is kept of it, rows that only the service writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest

from core.models import User


def note_actions(request: HttpRequest, objects: Iterable[Any], message: str) -> None:
    """Keep an action in the admin history of every object it changed."""
    LogEntry.objects.bulk_create(
        [
            LogEntry(
                user_id=user_of(request).pk,
                content_type=ContentType.objects.get_for_model(one),
                object_id=str(one.pk),
                object_repr=str(one)[:200],
                action_flag=CHANGE,
                change_message=message,
            )
            for one in objects
        ]
    )


def user_of(request: HttpRequest) -> User:
    """The account that is logged in to the pages."""
    if not isinstance(request.user, User):
        raise TypeError("the admin site serves accounts only")
    return request.user


class ReadOnly:
    """Rows that only the service writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
