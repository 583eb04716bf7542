"""Rows of `/api`, one per resource and version."""

from typing import Any

KEYS = ("label", "description", "name", "resource", "majorVersion", "minorVersion", "self")

# (label, description, resource, version, path, whether it is the newest)
_RESOURCES = (
    ("Access token", "Log in with name and password for an access token.", "access_token", (1, 0), "login-token", True),
    ("Basic search", "Search titles by keyword.", "basic_search", (1, 1), "v1.1/basic_search", True),
    ("Refresh token", "Trade a refresh token for a new pair.", "refresh_token", (1, 0), "refresh-token", True),
    ("Repository items", "Titles and signed links to their files.", "repo_items", (1, 0), "v1.0/repo_items", True),
    ("User", "Accounts: oneself, or all for administrators.", "users", (1, 0), "v1.0/users", False),
    ("User", "Accounts: oneself, or all for administrators.", "users", (1, 1), "v1.1/users", True),
)


def rows(base: str, *, is_all: bool) -> list[dict[str, Any]]:
    """The rows by name: the newest version of each resource, or all."""
    return [
        {
            "label": label,
            "description": description,
            "name": f"{resource}:{version[0]}.{version[1]}",
            "resource": resource,
            "majorVersion": version[0],
            "minorVersion": version[1],
            "self": f"{base}/api/{path}",
        }
        for label, description, resource, version, path, is_newest in _RESOURCES
        if is_all or is_newest
    ]
