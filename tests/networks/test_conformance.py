"""One suite for every network: recorded conversations, and what any connector must keep.

A fixture is a JSON file in `fixtures/<network>/`: the call, the conversation with a scripted server, and the end.

    {"step": "publish",      which method; for `prepare` also "prepare": "image_0"
     "input": {...},         see `build_call`; for `connect` the form's fields under "form"
     "any_order": false,     whether requests may come in any order
     "exchanges": [{"request": {"method", "path", "query", "headers", "json", "body"},
                    "answer": {"status", "headers", "json" | "text"} | "cut" | "stall"}],
     "expect": {"type": "Receipt", "value": {...}}
             | {"error": "Rejected", "code", "raw_code", "http_status", "until_in_s": [low, high] | null}}

Objects of an expected request or value are subsets; "$ABSENT" says that a key must not be there, "$BASE" is the address
of the scripted server. A request that the script does not foresee fails the test, and so does one that never comes.
"""

import asyncio
import copy
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from core import clock
from core.settings import Settings
from networks import base, connectors
from networks.client import Client

FIXTURES = Path(__file__).parent / "fixtures"
FILES = sorted(FIXTURES.glob("*/*.json"))
NETWORKS = sorted(connectors(Client(), Settings()))
HURRY_S = 0.4
UNKNOWN_ANSWERS: dict[str, Any] = {
    "cut": "cut",
    "stall": "stall",
    "500": {"status": 500, "text": "oops"},
    "502 in JSON": {"status": 502, "json": {"error": "UpstreamFailure", "message": "x"}},
    "200 that is not JSON": {"status": 200, "text": "<html>"},
    "200 that says nothing": {"status": 200, "json": {}},
    "a redirect": {"status": 307, "headers": {"Location": "/elsewhere"}, "text": ""},
    "a strange refusal": {"status": 400, "json": {"error": "NeverHeardOf", "message": "x"}},
    "a refusal of somebody between": {"status": 403, "text": "<html>blocked</html>"},
}
"""Answers to the one call that prove nothing: whoever takes one of them for a refusal publishes twice one day."""


class HurriedClient(Client):
    """The client, with less patience than connectors ask for; it keeps what they asked for."""

    def __init__(self) -> None:
        super().__init__(allow_loopback=True)
        self.longest_deadline_s = 0.0

    async def request(self, method: str, url: str, **sent: Any) -> Any:
        self.longest_deadline_s = max(self.longest_deadline_s, sent["deadline_s"])
        sent["deadline_s"] = min(HURRY_S, sent["deadline_s"])
        return await super().request(method, url, **sent)


class Script:
    """Plays exchanges, in order unless told otherwise, and writes down what went wrong."""

    def __init__(self, exchanges: list[dict[str, Any]], any_order: bool) -> None:
        self.left = exchanges
        self.any_order = any_order
        self.wrong: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        said = await seen(request)
        candidates = self.left if self.any_order else self.left[:1]
        complaints = [difference(one["request"], said) for one in candidates]
        if None not in complaints:
            self.wrong.append(f"unexpected {said['method']} {said['path']}: {complaints or 'the script is over'}")
            return web.Response(status=599)
        answer = self.left.pop(complaints.index(None))["answer"]
        if answer == "stall":
            await asyncio.sleep(HURRY_S * 2)
        if isinstance(answer, str):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        text = answer["text"] if "text" in answer else json.dumps(answer.get("json", {}))
        kind = "text/html" if "text" in answer else "application/json"
        return web.Response(status=answer["status"], headers=answer.get("headers"), text=text, content_type=kind)


async def seen(request: web.BaseRequest) -> dict[str, Any]:
    """A request in the form that fixtures use."""
    body = await request.read()
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = "$ABSENT"
    return {
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "json": parsed,
        "body": body.decode("latin-1"),
    }


def difference(expected: Any, actual: Any, at: str = "") -> str | None:
    """Say where `actual` is not what `expected`, a subset of it, asks for; None when it is."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for name, value in expected.items():
            if value == "$ABSENT":
                if name in actual:
                    return f"{at}/{name} should not be there"
            elif name not in actual:
                return f"{at}/{name} is missing"
            elif (found := difference(value, actual[name], f"{at}/{name}")) is not None:
                return found
        return None
    if isinstance(expected, list) and isinstance(actual, list | tuple):
        if len(expected) != len(actual):
            return f"{at} has {len(actual)} items, not {len(expected)}"
        found_all = (difference(one, other, f"{at}/{n}") for n, (one, other) in enumerate(zip(expected, actual, strict=True)))
        return next((one for one in found_all if one is not None), None)
    return None if expected == actual else f"{at} is {actual!r}, not {expected!r}"


def build_call(given: Mapping[str, Any]) -> base.Call:
    """Build a call from a fixture's input; what it leaves out gets a plain default."""
    media = tuple(base.Media(**one) for one in given.get("media", []))
    return base.Call(
        credentials=build_credentials(given),
        account=base.Target(**{"external_id": "account", "name": "Account", **given.get("account", {})}),
        draft=base.Draft(given.get("text", "Hello"), media, given.get("options", {})),
        key=given.get("key", "pub_1"),
        started_at=datetime.fromisoformat(given.get("started_at", "2026-11-24T12:00:00+00:00")),
        handles=given.get("handles", {}),
        control=given.get("control"),
        external_id=given.get("external_id"),
        media_data={one.asset_version_id: b"bytes of " + one.asset_version_id.encode() for one in media},
    )


def build_credentials(given: Mapping[str, Any]) -> base.Credentials:
    """Build credentials from a fixture's input."""
    return base.Credentials(given.get("credentials", {}), None, tuple(given.get("scopes", [])))


@asynccontextmanager
async def playing(script: Script) -> AsyncIterator[str]:
    """Serve a script on loopback; gives the address."""
    runner = web.ServerRunner(web.Server(script.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def make(name: str, client: Client, url: str) -> base.Network:
    """Make the connector of a network that talks to `url`: each has its address in the setting `<name>_url`."""
    return connectors(client, Settings.model_validate({f"{name}_url": url}))[name]


async def run_step(network: base.Network, fixture: Mapping[str, Any]) -> Any:
    """Make the call that a fixture describes."""
    step, given = fixture["step"], fixture.get("input", {})
    if step == "connect":
        return await network.connect(given["form"])
    if step == "refresh":
        return await network.refresh(build_credentials(given))
    if step == "revoke":
        return await network.revoke(build_credentials(given))  # type: ignore[attr-defined]  # of who can (base.Revokes)
    if step == "prepare":
        return await network.prepare(fixture["prepare"], build_call(given))
    return await getattr(network, step)(build_call(given))


def plain(value: Any) -> Any:
    """A result in the form that fixtures use."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


async def play(name: str, fixture: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Run a fixture; gives the result or the error, and the fixture with the real address in it. Checks the script."""
    exchanges: list[dict[str, Any]] = []
    script, client = Script(exchanges, fixture.get("any_order", False)), HurriedClient()
    async with playing(script) as url:
        filled: dict[str, Any] = json.loads(json.dumps(fixture).replace("$BASE", url))
        exchanges.extend(filled["exchanges"])
        network = make(name, client, url)
        try:
            result = await run_step(network, filled)
        except base.NetworkError as error:
            result = error
        await client.close()
    assert script.wrong == []
    assert script.left == [], "the connector did not ask for all of the script"
    assert client.longest_deadline_s <= network.capabilities.call_deadline.total_seconds()
    return result, filled


def check_error(error: base.NetworkError, expect: Mapping[str, Any], secrets: list[str]) -> None:
    """Hold an error against the expected one; no error may carry a secret."""
    assert type(error).__name__ == expect["error"], repr(error)
    for name, attribute in (("code", "error_code"), ("raw_code", "raw_code"), ("http_status", "http_status")):
        if name in expect:
            assert getattr(error, attribute) == expect[name]
    if "until_in_s" in expect:
        assert isinstance(error, base.RateLimited)
        if expect["until_in_s"] is None:
            assert error.until is None
        else:
            low, high = (clock.now() + timedelta(seconds=one) for one in expect["until_in_s"])
            assert error.until is not None
            assert low <= error.until <= high
    assert not [one for one in secrets if one in f"{error} {error.detail} {error!r}"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_conversation(path: Path) -> None:
    result, fixture = await play(path.parent.name, json.loads(path.read_text()))
    expect, given = fixture["expect"], fixture.get("input", {})
    secrets = [value for name, value in given.get("credentials", {}).items() if "token" in name]
    secrets += [value for name, value in given.get("form", {}).items() if "password" in name]
    if isinstance(result, base.NetworkError):
        assert "error" in expect, repr(result)
        check_error(result, expect, secrets)
    else:
        assert type(result).__name__ == expect.get("type"), repr(result)
        assert "value" not in expect or difference(expect["value"], plain(result)) is None
        json.dumps(plain(result))


PUBLISHED = [path for path in FILES if path.stem.startswith("publish_ok")]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: f"{path.parent.name}/{path.stem}")
@pytest.mark.parametrize("what", UNKNOWN_ANSWERS)
async def test_whatever_proves_nothing_leaves_the_one_call_uncertain(path: Path, what: str) -> None:
    fixture = json.loads(path.read_text())
    fixture["exchanges"][-1]["answer"] = copy.deepcopy(UNKNOWN_ANSWERS[what])
    result, _ = await play(path.parent.name, fixture)
    assert type(result) is base.Uncertain


@pytest.mark.parametrize("name", NETWORKS)
async def test_nobody_at_the_address_is_unavailable(name: str) -> None:
    path = next((path for path in PUBLISHED if path.parent.name == name), None)
    if path is None:
        pytest.skip(f"fixtures/{name} has no publish_ok*.json")
    client = HurriedClient()
    url = "http://127.0.0.1:1"
    fixture = json.loads(path.read_text().replace("$BASE", url))
    with pytest.raises(base.Unavailable):
        await run_step(make(name, client, url), fixture)
    await client.close()


# --- what needs no conversation ------------------------------------------------------------------------------------

IMAGE = base.Media("v1", "image/png", 1_000, 20, 10, "A square")
DRAFTS = [
    base.Draft("Hello"),
    base.Draft(""),
    base.Draft("é👩‍👩‍👧" * 4_000),
    base.Draft("Hi @someone.test #tag https://example.com", (IMAGE,)),
    base.Draft("many", (dataclasses.replace(IMAGE, content_type="application/pdf", size_bytes=10**12, alt_text=""),) * 40),
    base.Draft("odd \ud800 options", options={"langs": 7, "unknown": [1]}),
]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("draft", DRAFTS, ids=range(len(DRAFTS)))
def test_check_and_plan_are_pure(name: str, draft: base.Draft) -> None:
    network = make(name, Client(), "http://127.0.0.1:1")
    before = copy.deepcopy(draft)
    first, steps = list(network.check(draft)), list(network.plan(draft))
    assert (first, steps) == (list(network.check(draft)), list(network.plan(draft)))
    assert draft == before
    assert len(set(steps)) == len(steps)
    assert all(one.pointer.startswith("/") and one.code and one.detail for one in first)


@pytest.mark.parametrize("name", NETWORKS)
def test_check_knows_the_limits_that_the_capabilities_name(name: str) -> None:
    network = make(name, Client(), "http://127.0.0.1:1")
    text, media = network.capabilities.text, network.capabilities.media

    def errors(draft: base.Draft) -> list[str]:
        return [one.pointer for one in network.check(draft) if one.severity == "error"]

    assert errors(base.Draft("a" * text.max_length)) == []
    assert errors(base.Draft("a" * (text.max_length + 1))) == ["/text"]
    good = dataclasses.replace(IMAGE, content_type=min(media.content_types), size_bytes=media.max_bytes)
    assert errors(base.Draft("a", (good,) * media.max_count)) == []
    assert errors(base.Draft("a", (good,) * (media.max_count + 1))) == ["/media"]
    assert errors(base.Draft("a", (dataclasses.replace(good, size_bytes=media.max_bytes + 1),))) == ["/media/0"]
    assert errors(base.Draft("a", (dataclasses.replace(good, content_type="text/x-none"),))) == ["/media/0"]
    assert errors(base.Draft("a", (dataclasses.replace(good, alt_text="a" * (media.max_alt_length + 1)),))) == ["/media/0"]
    assert errors(base.Draft("  ")) == ["/text"]


@pytest.mark.parametrize("name", NETWORKS)
def test_freeze_is_pure_and_keeps_the_name_of_the_post_for_all_attempts(name: str) -> None:
    network = make(name, Client(), "http://127.0.0.1:1")
    call = build_call({"text": "Hello https://example.com #tag"})
    frozen = network.freeze(call)
    assert frozen == network.freeze(call)
    stored = json.loads(json.dumps(frozen))
    later = dataclasses.replace(call, handles=stored, started_at=call.started_at + timedelta(days=3))
    again = network.freeze(later)
    assert (
        {key: again[key] for key, value in stored.items() if isinstance(value, str)}
        == {key: value for key, value in stored.items() if isinstance(value, str)}
        != {}
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_capabilities_are_complete(name: str) -> None:
    facts = make(name, Client(), "http://127.0.0.1:1").capabilities
    assert facts.name == name
    assert facts.title
    assert facts.connect
    assert bool(facts.credentials) == ("credentials" in facts.connect)
    assert facts.text.max_length > 0
    assert facts.promise.endswith(".")
    assert timedelta(0) < facts.call_deadline < Settings().lease
    assert facts.settle >= timedelta(0)
    assert facts.media.max_count == 0 or (facts.media.content_types and facts.media.max_bytes > 0 and facts.media.kinds)


def test_every_error_of_the_tree_is_met() -> None:
    met = {json.loads(path.read_text())["expect"].get("error") for path in FILES if path.parent.name == "bluesky"}
    missing = {
        "Rejected",
        "Duplicate",
        "Unauthorized",
        "Expired",
        "Forbidden",
        "RateLimited",
        "Unavailable",
        "Uncertain",
    } - met
    assert missing == set()
