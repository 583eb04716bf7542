"""A mail server for tests: takes every message, keeps it, and can be told to refuse."""

import contextlib
import email
import email.message
import email.policy
from collections.abc import Iterator
from typing import Any

from aiosmtpd import controller

from tests import house


class Mailbox:
    """What was sent, in order; `refuse` is an SMTP answer (such as `451 later`) given instead of taking a message."""

    def __init__(self) -> None:
        self.messages: list[email.message.EmailMessage] = []
        self.refuse: str | None = None
        self.refused = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Called by the server for every message."""
        if self.refuse is not None:
            self.refused += 1
            return self.refuse
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, email.message.EmailMessage)
        self.messages.append(message)
        return "250 taken"

    def wait(self, count: int = 1, *, timeout: float = house.PATIENCE_SECONDS) -> list[email.message.EmailMessage]:
        """The messages, once there are at least `count`."""
        house.wait_for(lambda: len(self.messages) >= count, what=f"{count} mails", timeout=timeout)
        return self.messages


@contextlib.contextmanager
def serve(port: int) -> Iterator[Mailbox]:
    """Run the server on a loopback port."""
    box = Mailbox()
    server = controller.Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    try:
        yield box
    finally:
        server.stop()
