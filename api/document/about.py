"""The words around the operations: title, contact, servers, tags, and how to authenticate."""

from typing import Any

from tenants.permissions import DELEGABLE

VERSION = "1.0.0"
"""Of the contract; openapi/released/ keeps each, openapi/CHANGELOG.md tells them."""
SITE = "https://octavo.example"
DESCRIPTION = """
The API that social-media agencies run on: workspaces for each client, accounts of social networks, posts that go out once
and on time, and an honest word about every delivery.

**Manners, everywhere the same**

- JSON in `snake_case`; instants in RFC 3339, with an offset in, in UTC out. `null` (not given) is never 0.
- Ids carry the prefix of their kind (`pst_...`). An id of somebody else answers 404, as one that never was.
- Lists have `data` and `next_cursor`; give it back as `cursor`. `Link: rel="next"` says the same.
- Errors are `application/problem+json` (RFC 9457) with a stable `code`. Judge a code that you do not know by its status.
- Writes take an `Idempotency-Key`: after a lost answer send the same again, and nothing is done twice.
- `PATCH` is a JSON merge patch. `If-Match` with the `ETag` that you have read keeps you from overwriting others.
- Enums are open sets: expect values that you do not know. Fields may be added; unknown input is refused.
- Every answer has a `Request-Id`, and `RateLimit` says what is left of your limits; 429 comes with `Retry-After`.
- What goes away is told a year before: `Deprecation` and `Sunset` on its answers, and `deprecated` here.

**Test mode**: keys that begin with `oct_test_` see test data only, and reach the sandbox network, whose accounts behave as
their handle says. Keys that begin with `oct_live_` see everything else.
"""
INFO = {
    "summary": "Publishing for social-media agencies: once, on time, and honest about it.",
    "contact": {"name": "Octavo API support", "url": f"{SITE}/support", "email": "api@octavo.example"},
    "license": {"name": "Proprietary", "url": f"{SITE}/terms"},
    "termsOfService": f"{SITE}/terms",
}
TAGS = [
    {"name": "Agency", "description": "Who is calling, and the agency's own keys."},
    {"name": "People", "description": "Signing in and out: what a person does for itself, in no agency's name."},
    {"name": "Members", "description": "The people of the agency, and their roles in it and in its workspaces."},
    {"name": "Applications", "description": "What third parties build: OAuth clients, what was granted to them, and embed tokens."},
    {"name": "Workspaces", "description": "One workspace per client: the wall inside the agency."},
    {"name": "Networks", "description": "What each social network can do, as data."},
    {"name": "Accounts", "description": "Connected pages, channels, groups and profiles, and the ways to connect them."},
    {"name": "Media", "description": "Files that posts carry."},
    {"name": "Posts", "description": "Content, its time, and its accounts."},
    {"name": "Publications", "description": "Deliveries: one post at one account, with every attempt and its proof."},
    {"name": "Share links", "description": "Links that show one thing to people without an account, and opening them."},
    {"name": "Operations", "description": "Long work that was accepted: how far it is, and what it brought."},
    {"name": "Events", "description": "What happened, in order."},
    {"name": "Data rights", "description": "Exports, letting a client go, and closing the agency."},
    {"name": "Audit log", "description": "Who changed what: append-only, chained, and verifiable."},
]
KEY = """
An agency's key: `Authorization: Bearer oct_live_...` or `oct_test_...`. A key holds scopes, may be bound to workspaces, and is
shown once, when it is made (`POST /v1/api-keys`). It never travels in a query string. Each operation names the one scope that
it needs; without it the answer is 403 with `required_permission`.

| scope | what it opens |
|---|---|
"""
SESSION = """
A person who is signed in (`POST /v1/sessions`): an opaque cookie, Secure, HttpOnly and SameSite=Lax. It ends after 12 hours without
a request, and after 30 days. A person may what the roles in agency and workspace allow. The header `Octavo-Agency: agc_...` says in
the name of which agency a request speaks; who is a member of one only can leave it out. Requests that change something must come
from a page of this service (`Sec-Fetch-Site` or `Origin`). Programs use a key.
"""

OAUTH = """
An application of a third party, for a member who said yes, or by itself for its own agency: `Authorization: Bearer oat_...`. A
token does what its scopes, its workspaces and its member's role share, at each request. It is opaque, and no JWT (so nothing of
RFC8725 has to be minded), and lives ten minutes; the token endpoint gives the next one. Embed tokens (`oem_...`,
`POST /v1/embed-tokens`) travel in the same way. The guide *Third-party applications* tells the whole of it.
"""


def finish(document: dict[str, Any], public_url: str) -> None:
    """Complete title, servers and security."""
    document["info"] |= INFO
    for server in document["servers"]:
        server["description"] = "Production. The key decides between live and test mode."
        server["x-internal"] = False
    scheme = document["components"]["securitySchemes"]["ApiKey"]
    document["components"]["securitySchemes"]["Session"]["description"] = SESSION.strip()
    url = public_url.rstrip("/")
    delegable = {scope: opens for scope, opens in scopes(document).items() if scope in DELEGABLE}
    token = {"tokenUrl": f"{url}/oauth/token", "refreshUrl": f"{url}/oauth/token", "scopes": delegable}
    document["components"]["securitySchemes"]["OAuth2"] = {
        "type": "oauth2",
        "description": OAUTH.strip(),
        "flows": {
            "authorizationCode": token | {"authorizationUrl": f"{url}/oauth/authorize"},
            "clientCredentials": token,
        },
    }
    scheme["bearerFormat"] = "oct_(live|test)_..."
    scheme["description"] = KEY.strip() + "\n" + "\n".join(f"| `{scope}` | {opens} |" for scope, opens in scopes(document).items())


def scopes(document: dict[str, Any]) -> dict[str, str]:
    """Say of each scope which operations it opens, by their summaries."""
    opened: dict[str, list[str]] = {}
    for item in document["paths"].values():
        for operation in item.values():
            scope = operation.get("x-required-permission")
            if scope:
                opened.setdefault(scope, []).append(operation["summary"])
    return {scope: ", ".join(sorted(names)) for scope, names in sorted(opened.items())}
