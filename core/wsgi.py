"""The WSGI entry point, ``core.wsgi:application``."""

import os
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")

application = get_wsgi_application()

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.signals import connection_created


def limit_statements(connection: Any, **_kwargs: Any) -> None:
    """No statement of a web request may run longer than STATEMENT_TIMEOUT_MS; jobs have their own limits.

    Other connections than the default one are there to have a limit of their own.
    """
    if connection.alias != DEFAULT_DB_ALIAS:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [str(settings.STATEMENT_TIMEOUT_MS)])


connection_created.connect(limit_statements)
