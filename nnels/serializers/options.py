"""The discovery structures that OPTIONS prints: exactly the published ones, and ours behind `?all=1`."""

from typing import Any

from nnels.formats import languages

_TOKENS: dict[str, Any] = {
    "access_token": {
        "data": {"type": "text", "required": False},
        "info": {"label": "Token", "description": 'Authentication token "token" property.'},
    },
    "type": [],
    "expires_in": {
        "data": {"type": "integer", "required": False},
        "info": {"label": "Expire", "description": 'Authentication token "expire" property.'},
    },
    "refresh_token": {
        "info": {"label": "Refresh token", "description": "Token used to get a new access token once it is expired."}
    },
}

_USERS: dict[str, Any] = {
    "id": {
        "info": {"label": "ID", "description": "Base ID for the entity."},
        "data": {"type": "integer", "required": True, "read_only": True, "cardinality": 1},
    },
    "label": {
        "info": {"label": "Label", "description": "The label of the resource."},
        "data": {"type": "string", "read_only": False, "cardinality": 1, "required": False, "size": 255},
    },
    "self": [],
    "mail": {
        "data": {"type": "text", "required": True},
        "info": {"label": "Email", "description": "The email address of the user account."},
    },
}


def _form(kind: str, title: str) -> dict[str, Any]:
    return {"allowed_values": [], "default_value": None, "type": kind, "title": title}


_ITEMS: dict[str, Any] = {
    "label": {
        "info": {"label": "Label", "description": "The label of the resource."},
        "data": {"type": "string", "required": False, "read_only": False, "cardinality": 1, "size": 255},
        "form_element": {
            "type": "textfield",
            "default_value": "",
            "placeholder": "",
            "size": 255,
            "allowed_values": None,
            "title": "label",
            "description": "The label of the resource.",
        },
    },
    "creators": {
        "info": {"label": "Creator", "description": ""},
        "form_element": _form("text_textfield", "creators"),
    },
    "languages": {
        "info": {"label": "Language", "description": ""},
        "form_element": {"default_value": [{"value": "eng"}], "type": "options_buttons", "title": "languages"},
    },
    "isbn": {"info": {"label": "ISBN", "description": ""}, "form_element": _form("text_textfield", "isbn")},
    "uuid": {
        "data": {"type": "text", "required": False},
        "info": {"label": "UUID", "description": "The universally unique ID."},
    },
    "published_date": {
        "info": {"label": "Date", "description": ""},
        "form_element": _form("field_collection_embed", "published_date"),
    },
    # NNELS: the published structure describes the links with the node id's label and type.
    "file_resources": {
        "data": {"type": "integer", "required": False},
        "info": {"label": "Node ID", "description": "The unique ID of the node."},
    },
}


def _added(label: str, kind: str, description: str = "", *, is_required: bool = False) -> dict[str, Any]:
    return {
        "info": {"label": label, "description": description},
        "data": {"type": kind, "required": is_required, "read_only": True},
    }


_MORE_USERS: dict[str, Any] = {
    "roles": _added("Roles", "string[]", "authenticated, administrator"),
    "print_disability_verified": _added("Verified", "boolean", "Whether restricted titles are open to the account."),
    "home_library": _added("Home library", "string"),
}

_MORE_ITEMS: dict[str, Any] = {
    "id": _added("Node ID", "integer", "The unique ID of the node.", is_required=True),
    "self": _added("Self", "string", "Where the item is.", is_required=True),
    "subjects": _added("Subjects", "string[]"),
    "description": _added("Description", "string"),
    "publisher": _added("Publisher", "object", "name and place"),
    "formats": _added("Formats", "string[]", "daisy202 daisy3 epub docx rtf pdf mp3 brf txt html"),
    "narrators": _added("Narrators", "string[]"),
    "narration": _added("Narration", "string", "human or synthetic"),
    "duration": _added("Duration", "string", "ISO 8601"),
    "series": _added("Series", "string"),
    "edition": _added("Edition", "string"),
    "audience": _added("Audience", "string"),
    "rights": _added("Rights", "string", "open or restricted"),
    "accessibility": _added("Accessibility", "object", "schema.org accessibility properties"),
    "files": _added("Files", "object[]", "format, media_type, name, bytes, sha256, url, expires_at"),
    "changed": _added("Changed", "string", "RFC 3339"),
}

_SEARCH: dict[str, Any] = {
    "id": _added("Node ID", "integer", "The unique ID of the node.", is_required=True),
    "entity_id": _added("Entity ID", "integer", "The same as id.", is_required=True),
    "label": _added("Label", "string", "The title.", is_required=True),
    "creators": _added("Creator", "string[]"),
    "languages": _added("Language", "string[]", "ISO 639-2/T"),
    "isbn": _added("ISBN", "string[]"),
    "uuid": _added("UUID", "string", "The universally unique ID."),
    "published_date": _added("Date", "string", "YYYY[-MM[-DD]]"),
    "formats": _added("Formats", "string[]"),
    "relevance": _added("Relevance", "number", "0 to 1"),
    "self": _added("Self", "string", "Where the item is.", is_required=True),
}

_DISCOVERY: dict[str, Any] = {
    "label": _added("Label", "string"),
    "description": _added("Description", "string"),
    "name": _added("Name", "string", "resource:major.minor"),
    "resource": _added("Resource", "string"),
    "majorVersion": _added("Major version", "integer"),
    "minorVersion": _added("Minor version", "integer"),
    "self": _added("Self", "string"),
}

_PLAIN = {
    "login-token": _TOKENS,
    "refresh-token": _TOKENS,
    "users": _USERS,
    "repo_items": _ITEMS,
    "basic_search": _SEARCH,
    "discovery": _DISCOVERY,
}
_MORE = {"users": _MORE_USERS, "repo_items": _MORE_ITEMS}


def structure(kind: str, *, is_all: bool, href: str) -> dict[str, Any]:
    """The OPTIONS body of a resource: root `data` (one object) and `self`."""
    fields = dict(_PLAIN[kind])
    if is_all:
        fields |= _MORE.get(kind, {})
        if kind == "repo_items":
            described = {**fields["languages"], "data": {"type": "string[]", "values": languages.labels()}}
            fields["languages"] = described
    return {"data": [fields], "self": {"title": "Self", "href": href}}
