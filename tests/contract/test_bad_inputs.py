"""Bad inputs, each with its answer; and inputs that look bad and are taken."""

import re
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode, new_id
from core.settings import Settings
from tenants.agencies.keys import create_key, write_key
from tenants.agencies.schemas import KeyCreate
from tenants.permissions import Permission
from tests.conftest import MakeAgency, TestAgency, client_of
from tests.contract.bad_forms import FORMS
from tests.contract.bad_input import JSON, LATER, Bad, post, write
from tests.contract.bad_values import VALUES
from tests.walls.things import an_account

PUBLIC = "http://127.0.0.1:8000"
"""Where the service says that it is, by default."""
BAD = [*FORMS, *VALUES]
STORIES = {
    "B16": "tests/walls",
    "B18": "tests/walls",
    "B20": "tests/walls",
    "B27": "here",
    "B29": "tests/contract/test_lost_commits.py",
    "B33": "here",
    "B35": "tests/flows/test_publishing.py",
    "B36": "tests/flows/test_neighbours.py",
    "B39": "here",
    "B44": "tests/networks/test_egress.py",
    "B45": "tests/networks/test_client.py",
    "B47": "tests/networks/test_client.py",
    "B52": "tests/media/test_names.py",
    "B63": "tests/accounts/test_redirect.py",
    "B68": "here",
    "B71": "here",
}
"""Kinds of bad input that one request cannot show, and where they are held."""


@dataclass
class Place:
    """The application as it is in production, a furnished tenant, and its keys by what is wrong with them."""

    app: FastAPI
    agency: TestAgency
    ids: dict[str, str]
    headers: dict[str, list[tuple[str, str]]]


async def _keys(database: Database, agency: TestAgency) -> dict[str, list[tuple[str, str]]]:
    async def make(scopes: list[Permission], **more: Any) -> str:
        async with database.session(agency.tenant) as session:
            row, text = await create_key(session, agency.actor, KeyCreate(name="k", scopes=scopes), now())
            for name, value in more.items():
                setattr(row, name, value)
            session.add(row)
        return text

    own = agency.key
    texts = {
        "own": own,
        "garbage": "garbage",
        "truncated": own[:-1],
        "wrong checksum": own[:-1] + ("0" if own[-1] != "0" else "1"),
        "expired": await make(list(Permission), expires_at=now() - timedelta(seconds=1)),
        "revoked": await make(list(Permission), revoked_at=now()),
        "of nobody": write_key(new_id(), livemode=False),
        "other mode": write_key(agency.actor.agency_id, livemode=True),
        "reader": await make([Permission.POST_READ]),
        "maker": await make([Permission.KEY_MANAGE]),
    }
    headers = {which: [("Authorization", f"Bearer {text}")] for which, text in texts.items()}
    return headers | {
        "none": [],
        "basic": [("Authorization", f"Basic {own}")],
        "twice": [("Authorization", f"Bearer {own}, Bearer {own}")],
    }


@pytest.fixture
async def place(settings: Settings, make_agency: MakeAgency, database: Database) -> AsyncIterator[Place]:
    """Everything that the rows need. Nothing is called on loopback, and one host is served."""
    from api.app import create_app

    agency = await make_agency("Victim")
    app = create_app(settings.model_copy(update={"egress_allow_loopback": False, "allowed_hosts": "octavo.test"}))
    async with app.router.lifespan_context(app), client_of(app, agency.key) as client:
        workspace, account = encode("wsp", agency.workspace.id), await an_account(database, agency.tenant, agency.workspace.id)
        made = await client.post(f"/v1/workspaces/{workspace}/posts", json=post(account_ids=[account], schedule=LATER))
        ids = {
            "workspace": workspace,
            "account": account,
            "post": made.json()["id"],
            "publication": made.json()["publications"][0]["id"],
        }
        yield Place(app, agency, ids, await _keys(database, agency))


async def send(place: Place, row: Bad) -> httpx2.Response:
    """Send a row as it is written."""
    path, body = write(row, place.ids)
    headers: list[tuple[str, str | bytes]] = [*place.headers[row.key], *row.headers.items()]
    if body is not None and not isinstance(row.body, bytes):
        headers += [("Content-Type", JSON["Content-Type"])]

    async def pieces() -> AsyncIterator[bytes]:
        assert body is not None
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    content = pieces() if row.chunked else body
    async with client_of(place.app, None) as client:
        return await client.request(row.method, path, content=content, headers=headers, **row.sent)


def _challenge(row: Bad) -> str:
    error = "" if row.key == "none" else ', error="invalid_token"'
    return f'Bearer realm="octavo"{error}, resource_metadata="{PUBLIC}/.well-known/oauth-protected-resource"'


def what_is_wrong(row: Bad, answer: httpx2.Response) -> str | None:
    """Hold an answer against its row and against what every problem has."""
    if answer.headers.get("content-type") != "application/problem+json":
        return f"no problem: {answer.status_code} {answer.text[:200]}"
    problem = answer.json()
    seen, wanted = (answer.status_code, problem["code"]), (row.status, row.code)
    first = problem["errors"][0] if problem["errors"] else {"pointer": None, "code": None}
    if seen != wanted or row.pointer not in {None, first["pointer"]} or row.fault not in {None, first["code"]}:
        return f"{seen} {first} is not {wanted} {row.pointer} {row.fault}: {answer.text[:300]}"
    if problem["request_id"] != answer.headers["request-id"] or not problem["type"].endswith(f"/errors/{row.code}"):
        return f"not complete: {answer.text[:300]}"
    if row.status == 401 and answer.headers.get("www-authenticate") != _challenge(row):
        return "a 401 that does not say how to authenticate"
    if len(answer.text) > 20_000 or re.search(r"oct_(test|live)_[0-9a-z]{20}", answer.text):
        return "it says back what was sent"
    return None


async def rows_of(database: Database, agency: TestAgency) -> dict[str, int]:
    async with database.connection(agency.tenant) as db:
        tables = ("posts", "publications", "duties", "events", "assets", "operations", "workspaces", "api_keys", "connect_sessions")
        return {table: await db.fetchval(f"select count(*) from {table}") for table in tables}


async def test_every_bad_input_is_refused_by_its_code_and_leaves_nothing(
    place: Place, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await rows_of(database, place.agency)
    wrong = []
    for row in BAD:
        fault = what_is_wrong(row, await send(place, row))
        if fault is not None:
            wrong.append(f"{row.kind} {row.name}: {fault}")
    kinds = {row.kind for row in BAD}
    with capsys.disabled():
        sys.stdout.write(f"\nbad inputs: {len(BAD)} of {len(kinds)} kinds, {len(wrong)} wrong; {len(STORIES)} kinds in stories\n")
    assert not wrong, "\n".join(wrong)
    assert await rows_of(database, place.agency) == before


async def test_a_key_of_another_request_is_refused_and_that_of_another_tenant_is_another(
    place: Place, make_agency: MakeAgency, database: Database
) -> None:
    """B27."""
    other = await make_agency("Other")
    key = {"Idempotency-Key": secrets.token_hex(8)}
    body = {"name": "w", "time_zone": "UTC"}
    async with client_of(place.app, place.agency.key) as client, client_of(place.app, other.key) as stranger:
        assert (await client.post("/v1/workspaces", json=body, headers=key)).status_code == 201
        again = await client.post("/v1/workspaces", json=body | {"name": "v"}, headers=key)
        assert (again.status_code, again.json()["code"]) == (422, "idempotency_mismatch")
        elsewhere = await client.post("/v1/api-keys", json={"name": "k", "scopes": ["post:read"]}, headers=key)
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (422, "idempotency_mismatch")
        theirs = await stranger.post("/v1/workspaces", json=body, headers=key)
        assert (theirs.status_code, "Idempotent-Replayed" in theirs.headers) == (201, False)


TIMES = [
    ("in a gap, it moves forward by it", "2027-03-28T02:30:00", "Europe/Berlin", "2027-03-28T01:30:00.000Z"),
    ("twice, the first is meant", "2027-10-31T02:30:00", "Europe/Berlin", "2027-10-31T00:30:00.000Z"),
    ("an old name of a zone", "2027-06-01T09:00:00", "Europe/Kiev", "2027-06-01T06:00:00.000Z"),
    ("a zone that is three letters", "2027-06-01T09:00:00", "EST5EDT", "2027-06-01T13:00:00.000Z"),
    ("an offset wins over the zone", "2027-06-01T09:00:00+05:30", "Europe/Berlin", "2027-06-01T03:30:00.000Z"),
]


@pytest.mark.parametrize(("name", "at", "zone", "instant"), TIMES, ids=[row[0] for row in TIMES])
async def test_a_time_that_looks_wrong_means_one_instant(place: Place, name: str, at: str, zone: str, instant: str) -> None:
    """B33, B34: a gap and a fold are documented, and aliases are kept."""
    async with client_of(place.app, place.agency.key) as client:
        body = post(account_ids=[place.ids["account"]], schedule={"at": at, "time_zone": zone})
        made = (await client.post(f"/v1/workspaces/{place.ids['workspace']}/posts", json=body)).json()
        assert (made["schedule"]["at"], made["schedule"]["time_zone"]) == (instant, zone), made


TEXTS = [
    "<script>alert(1)</script>",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%n%s",
    "\x1b[31m",
    "a\r\nSet-Cookie: b",
    "'; drop table posts;--",
    "\u202egpj.exe",
    "@раypal",
    "👨‍👩‍👧‍👦",
    "\ufeffx",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize("text", TEXTS)
async def test_a_hostile_text_is_kept_as_it_is(place: Place, text: str) -> None:
    """B39."""
    async with client_of(place.app, place.agency.key) as client:
        path = f"/v1/workspaces/{place.ids['workspace']}/posts"
        body = post(account_ids=[place.ids["account"]], text=text, metadata={"note": text}, external_ref=text)
        made = (await client.post(path, json=body)).json()
        (seen,) = (await client.get(path, params={"external_ref": text})).json()["data"]
        assert (seen["id"], seen["text"], seen["metadata"]) == (made["id"], text, {"note": text})


IGNORED: list[tuple[str, dict[str, Any]]] = [
    ("B65 a forwarded host", {"headers": {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}}),
    ("B68 no origin's business", {"headers": {"Origin": "https://evil.example"}}),
    ("B68 the origin null", {"headers": {"Origin": "null"}}),
    ("B71 a clock that is off", {"headers": {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}}),
    ("B78 a body with a GET", {"content": b"[" * 1_000, "headers": JSON}),
    ("B79 a strange language", {"headers": {"Accept-Language": "../.."}}),
    ("B79 only XML wanted", {"headers": {"Accept": "application/xml"}}),
    ("B79 emoji in a header", {"headers": {"User-Agent": "🦉".encode()}}),
    ("B56 a filter of wildcards", {"params": {"external_ref": "%_\\"}}),
    ("B56 a filter of SQL", {"params": {"external_ref": "' OR 1=1--"}}),
]


@pytest.mark.parametrize(("name", "sent"), IGNORED, ids=[row[0] for row in IGNORED])
async def test_what_is_none_of_our_business_changes_nothing(place: Place, name: str, sent: dict[str, Any]) -> None:
    async with client_of(place.app, place.agency.key) as client:
        answer = await client.request("GET", f"/v1/workspaces/{place.ids['workspace']}/posts", **sent)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert "evil.example" not in str(answer.headers) + answer.text
        assert "access-control-allow-origin" not in answer.headers
        assert answer.json()["data"] == [] if "B56" in name else len(answer.json()["data"]) == 1
