"""The headers of requests and answers, as components of the document."""

from typing import Any

IDEMPOTENCY_KEY_LENGTH_MAX = 257
"""255 characters and two quotes (api/idempotency.py)."""
EXAMPLE_TIME = "Sat, 01 May 2027 00:00:00 GMT"
EVERY = ("Request-Id", "RateLimit", "RateLimit-Policy")
"""On every answer to a caller who was told apart; the first of them on all."""
LATER = ("Retry-After",)


def _text(description: str, example: str, *, pattern: str = r"^[\x20-\x7e]*$", length_max: int = 1_024) -> dict[str, Any]:
    schema = {"type": "string", "maxLength": length_max, "pattern": pattern}
    return {"description": description, "schema": schema, "example": example}


COMPONENTS: dict[str, dict[str, Any]] = {
    "Request-Id": _text(
        "Names this request; say it when you ask for help. Errors carry it as `request_id` too.",
        "req_01kazm3v9sfa4t2tq9gk1x7c5e",
        pattern=r"^req_[0-9a-z]{26}$",
        length_max=30,
    ),
    "RateLimit": _text(
        "What is left of each limit: `r` requests for the next `t` seconds; when `r` is 0, there is one after `t` seconds "
        "(draft-ietf-httpapi-ratelimit-headers-10). It is on every answer for which a key was looked at.",
        '"key";r=412;t=23, "agency";r=2790;t=23',
    ),
    "RateLimit-Policy": _text(
        "The limits themselves: `q` requests in any `w` seconds (the same draft). `key` counts those of this key, `agency` those "
        "of all its keys in this mode, `address` those with refused keys from one address, `password` those with a wrong password "
        "for one account from one address and `passwords` all of these, `invitation` accounts to be made by one invitation.",
        '"key";q=600;w=60, "agency";q=3000;w=60',
    ),
    "Retry-After": {
        "description": "Seconds after which asking again is right.",
        "schema": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 86_400},
        "example": 1,
    },
    "ETag": _text(
        "The version of what you see, as a strong entity tag. Give it back as `If-Match`, or as `If-None-Match` of a download.",
        '"3"',
        pattern=r'^"[0-9a-f]{1,64}"$',
        length_max=66,
    ),
    "Location": _text(
        "The path of what was made.", "/v1/workspaces/wsp_01kazm3v9sfa4t2tq9gk1x7c5e", pattern=r"^/v1/[\w/-]+$", length_max=512
    ),
    "Link": _text(
        '`rel="next"`: the address of the next page, when there is one.',
        '<https://api.octavo.example/v1/workspaces?cursor=AYqz>; rel="next"',
        length_max=4_096,
    ),
    "Idempotent-Replayed": {
        "description": "`true`: this key was answered before, and this is that answer. Nothing was done again.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    },
    "WWW-Authenticate": _text("How to authenticate, and where it is told how to get a token.", 'Bearer realm="octavo"'),
    "Deprecation": _text(
        "Since when this operation is deprecated: `@` and a Unix time (RFC 9745). `Link` says what to use.",
        "@1793491200",
        pattern=r"^@\d{1,12}$",
        length_max=13,
    ),
    "Sunset": _text("When this operation ends (RFC 8594), a year after its deprecation at the earliest.", EXAMPLE_TIME),
}

PARAMETERS: dict[str, dict[str, Any]] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "A name of your own for this write, quoted or bare; a UUID is good. Sent again with the same request it "
        "does nothing and gives the first answer; with another request it is refused (422). Kept for 30 days for posts, for 24 "
        "hours otherwise.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX,
            "pattern": r'^("[\x21\x23-\x5b\x5d-\x7e]{1,255}"|[\x21\x23-\x5b\x5d-\x7e]{1,255})$',
        },
        "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` that you have read. When the resource has changed since, nothing is done (412).",
        "schema": {"type": "string", "maxLength": 16, "pattern": r'^(\*|"\d{1,9}")$'},
        "example": '"3"',
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` of the bytes that you have; the answer is 304 while they are the newest.",
        "schema": {"type": "string", "maxLength": 1_024, "pattern": r"^[\x20-\x7e\x80-\xff]*$"},  # RFC 9110 section 8.8.3: obs-text
        "example": '"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
    },
}
PARAMETERS["IfMatchRequired"] = PARAMETERS["IfMatch"] | {
    "required": True,
    "description": PARAMETERS["IfMatch"]["description"] + " This operation wants it: without it the answer is 428.",
}


def parameter(name: str) -> dict[str, str]:
    """Refer to a parameter of the components."""
    return {"$ref": f"#/components/parameters/{name}"}


def refer(*names: str) -> dict[str, dict[str, str]]:
    """Refer to headers of the components, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def drop_unused(document: dict[str, Any]) -> None:
    """Leave out what nothing refers to: the headers of deprecation, until something is deprecated."""
    components = document["components"]
    for kind in ("responses", "headers", "parameters"):
        used = set(_references(document))
        components[kind] = {name: one for name, one in components[kind].items() if f"#/components/{kind}/{name}" in used}


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for item in value.values() for one in _references(item)]
    return [one for item in value for one in _references(item)] if isinstance(value, list) else []
