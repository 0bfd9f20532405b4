"""One bad input: how it is sent, and how it must be refused.

The kinds are those of our own list of hostile inputs (B01 to B80). `{workspace}`, `{account}`, `{post}` and their like stand for
what the tenant has.
"""

import json
from dataclasses import dataclass, field
from typing import Any

POSTS = "/v1/workspaces/{workspace}/posts"
JSON = {"Content-Type": "application/json"}
LATER = {"at": "2027-06-01T09:00:00Z"}


@dataclass(frozen=True)
class Bad:
    """One request, and how it must be refused. `pointer` and `fault` are those of the first fault, where they matter."""

    kind: str
    name: str
    status: int
    code: str
    pointer: str | None = None
    fault: str | None = None
    method: str = "POST"
    path: str = POSTS
    body: Any = None
    headers: dict[str, str | bytes] = field(default_factory=dict)
    key: str = "own"
    chunked: bool = False
    sent: dict[str, Any] = field(default_factory=dict)


def post(**more: Any) -> dict[str, Any]:
    """A post that would be taken, but for `more`."""
    return {"text": "x", "account_ids": ["{account}"], **more}


def write(row: Bad, places: dict[str, str]) -> tuple[str, bytes | None]:
    """The path and the body of a row, with the tenant's own ids."""
    body = row.body if isinstance(row.body, bytes | None) else json.dumps(row.body).encode()
    path = row.path
    for name, value in places.items():
        path = path.replace(f"{{{name}}}", value)
        body = body.replace(f"{{{name}}}".encode(), value.encode()) if body is not None and len(body) < 200_000 else body
    return path, body
