"""The mail with the link that sets a new password. The link is made when the mail goes out, so no row holds one."""

from __future__ import annotations

import json

from django.contrib.auth.tokens import default_token_generator
from django.template import loader
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from core import mail
from core.models import Mail, User


def queue(user: User, *, base_url: str, route: str) -> None:
    """Send a link to an account's primary address; ``route`` names the page it leads to."""
    subject = " ".join(loader.render_to_string("core/accounts/reset_subject.txt").split())
    facts = {"user": user.pk, "base_url": base_url, "route": route}
    mail.queue(KIND.name, user.email, subject, json.dumps(facts))


def render(row: Mail) -> str:
    """Compose the mail, each try with a link of its own; the first that is used ends the others."""
    facts = json.loads(row.body)
    user = User.objects.get(pk=facts["user"])
    link = {"uid": urlsafe_base64_encode(force_bytes(user.pk)), "token": default_token_generator.make_token(user)}
    return loader.render_to_string("core/accounts/reset_mail.txt", {**facts, **link, "user": user})


KIND = mail.Kind("password-reset", render=render)
