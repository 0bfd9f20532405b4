"""The sandbox connector against the sandbox server, over real HTTP: each handle plays its part."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text

from api.inbound.sandbox import router
from core.clock import now
from core.db import Database
from core.settings import Settings
from networks.base import (
    Absent,
    Call,
    Credentials,
    Draft,
    Duplicate,
    Expired,
    Forbidden,
    Found,
    Inconclusive,
    Media,
    NetworkError,
    RateLimited,
    Rejected,
    Target,
    Unauthorized,
    Unavailable,
    Uncertain,
)
from networks.client import Client
from networks.sandbox import Sandbox
from tenants.sandbox import behaviours

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
IMAGE = Media("asv_1", "image/png", len(PNG), 1, 1, "a dot")


@pytest.fixture
async def sandbox_server(database: Database, settings: Settings) -> AsyncIterator[str]:
    """The router under a uvicorn of its own, on a free port."""
    app = FastAPI()
    app.state.database = database
    app.state.settings = settings
    app.include_router(router)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/sandbox"
    server.should_exit = True
    await task


@pytest.fixture
async def network(sandbox_server: str) -> AsyncIterator[Sandbox]:
    """The connector, pointed at that server."""
    client = Client()
    yield Sandbox(client, base_url=sandbox_server)
    await client.close()


@dataclass
class Profile:
    """A connected account to publish with."""

    network: Sandbox
    credentials: Credentials
    account: Target
    count: int = 0

    def call(self, draft: Draft | None = None, **more: Any) -> Call:
        """Begin a new publication: its own key, frozen."""
        self.count += 1
        call = Call(self.credentials, self.account, draft or Draft("Hello"), f"key-{self.count}", now(), **more)
        return replace(call, handles={**call.handles, **self.network.freeze(call)})


async def connected(network: Sandbox, handle: str) -> Profile:
    """Connect a handle."""
    made = await network.connect({"handle": handle})
    return Profile(network, made.credentials, made.targets[0])


async def test_publishes_once_and_shows_it(network: Sandbox) -> None:
    profile = await connected(network, "always_ok-shop")
    assert profile.account.external_id == "always_ok-shop"
    call = profile.call(Draft("Grüße <b>&"))
    receipt = await network.publish(call)
    found = await network.reconcile(call)
    assert isinstance(found, Found)
    assert found.receipt == receipt
    async with aiohttp.ClientSession() as session:
        address = f"{network._base_url}/posts/{receipt.external_id}"
        shown = await (await session.get(address)).json()
        assert shown["text"] == "Grüße <b>&"
        assert shown["figures"] == {"views": 0, "likes": 0, "comments": 0, "shares": 0}
        page = await (await session.get(address, headers={"Accept": "text/html"})).text()
        assert "&lt;b&gt;&amp;" in page
        assert "<b>" not in page


async def test_publishes_images(network: Sandbox) -> None:
    profile = await connected(network, "always_ok")
    draft = Draft("", (IMAGE, replace(IMAGE, asset_version_id="asv_2", alt_text="")))
    assert network.plan(draft) == ["image_0", "image_1"]
    call = profile.call(draft, media_data={"asv_1": PNG, "asv_2": PNG + b"2"})
    for step in network.plan(draft):
        call = replace(call, handles={**call.handles, **await network.prepare(step, call)})
    receipt = await network.publish(call)
    async with aiohttp.ClientSession() as session:
        shown = await (await session.get(f"{network._base_url}/posts/{receipt.external_id}")).json()
    assert [one["alt"] for one in shown["media"]] == ["a dot", ""]
    assert shown["media"][0]["size_bytes"] == len(PNG)


async def test_many_profiles_stand_to_choice_and_do_not_mix(network: Sandbox) -> None:
    made = await network.connect({"handle": "many.x"})
    assert [one.external_id for one in made.targets] == ["many.x-1", "many.x-2", "many.x-3"]
    first, second = (Profile(network, made.credentials, one) for one in made.targets[:2])
    call = first.call()
    await network.publish(call)
    elsewhere = replace(call, account=second.account)
    assert isinstance(await network.reconcile(elsewhere), Absent)
    assert isinstance(await network.reconcile(call), Found)


@pytest.mark.parametrize("handle", ["nobody", "", "always_ok shop", "always_ok-", "x" * 65, "always_ok\0"])
async def test_unknown_handles_are_refused_with_the_list_of_known_ones(network: Sandbox, handle: str) -> None:
    with pytest.raises((Unauthorized, Rejected)) as caught:
        await network.connect({"handle": handle})
    if isinstance(caught.value, Unauthorized):
        assert "ambiguous_absent" in caught.value.detail


@pytest.mark.parametrize(
    ("handle", "error"),
    [
        ("rate_limited", RateLimited),
        ("token_expired", Expired),
        ("token_revoked", Unauthorized),
        ("rejects_content", Rejected),
        ("down", Unavailable),
        ("ambiguous_published", Uncertain),
        ("ambiguous_absent", Uncertain),
        ("late_visible", Uncertain),
        ("duplicate_error", Duplicate),
        ("blind", Uncertain),
    ],
)
async def test_each_handle_answers_as_it_says(
    network: Sandbox, handle: str, error: type[NetworkError], caplog: pytest.LogCaptureFixture
) -> None:
    profile = await connected(network, f"{handle}-a")
    call = profile.call()
    with caplog.at_level(logging.WARNING), pytest.raises(error) as caught:
        await network.publish(call)
    assert type(caught.value) is error
    assert not caplog.records
    if error is Uncertain:
        assert caught.value.http_status != 500


async def test_slow_takes_its_time(network: Sandbox) -> None:
    profile = await connected(network, "slow")
    began = now()
    await network.publish(profile.call())
    assert now() - began >= timedelta(seconds=behaviours.SLOW_S)


async def test_rate_limits_end_after_two_calls(network: Sandbox) -> None:
    profile = await connected(network, "rate_limited")
    call = profile.call()
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            await network.publish(call)
        assert caught.value.until is not None
        assert timedelta(0) < caught.value.until - now() <= timedelta(seconds=behaviours.RETRY_AFTER_S)
        assert isinstance(await network.reconcile(call), Absent)
    await network.publish(call)


async def test_a_refresh_mends_an_expired_token(network: Sandbox) -> None:
    profile = await connected(network, "token_expired")
    with pytest.raises(Expired):
        await network.publish(profile.call())
    old = profile.credentials
    profile.credentials = await network.refresh(old)
    assert profile.credentials.expires_at is not None
    await network.publish(profile.call())
    with pytest.raises(Unauthorized):  # rotating: the old one is spent, and showing it revokes the pair
        await network.refresh(old)
    with pytest.raises(Unauthorized):
        await network.publish(profile.call())


async def test_a_revoked_token_stays_so(network: Sandbox) -> None:
    profile = await connected(network, "token_revoked")
    with pytest.raises(Unauthorized):
        await network.refresh(profile.credentials)


@pytest.mark.parametrize("handle", ["ambiguous_published", "duplicate_error"])
async def test_what_was_accepted_without_an_answer_is_found(network: Sandbox, handle: str) -> None:
    profile = await connected(network, handle)
    call = profile.call()
    with pytest.raises((Uncertain, Duplicate)):
        await network.publish(call)
    found = await network.reconcile(call)
    assert isinstance(found, Found)
    published = replace(call, external_id=found.receipt.external_id)
    await network.delete(published)
    await network.delete(published)
    assert isinstance(await network.reconcile(call), Absent)


async def test_what_was_not_accepted_is_proven_absent(network: Sandbox) -> None:
    profile = await connected(network, "ambiguous_absent")
    for call in (profile.call(), profile.call()):
        with pytest.raises(Uncertain):
            await network.publish(call)
        assert isinstance(await network.reconcile(call), Absent)
        receipt = await network.publish(call)
        found = await network.reconcile(call)
        assert isinstance(found, Found)
        assert found.receipt == receipt


async def test_late_posts_appear_within_the_settle_time(network: Sandbox, database: Database) -> None:
    profile = await connected(network, "late_visible")
    call = profile.call()
    with pytest.raises(Uncertain):
        await network.publish(call)
    assert isinstance(await network.reconcile(call), Absent)  # which is why absence counts only after `settle`
    assert network.capabilities.settle > behaviours.LATE_VISIBLE
    async with database.session() as session:  # 20 seconds later
        await session.execute(text("update sandbox_posts set visible_at = visible_at - interval '20 seconds'"))
    assert isinstance(await network.reconcile(call), Found)


async def test_without_the_right_to_read_nothing_is_proven(network: Sandbox) -> None:
    profile = await connected(network, "blind")
    call = profile.call()
    with pytest.raises(Uncertain):
        await network.publish(call)
    assert isinstance(await network.reconcile(call), Inconclusive)
    bold = replace(call, credentials=replace(call.credentials, scopes=("read", "write")))
    with pytest.raises(Forbidden):
        await network.reconcile(bold)


async def test_absence_needs_a_control_and_a_look_after_the_call(network: Sandbox) -> None:
    profile = await connected(network, "always_ok")
    other = await network.publish(profile.call())
    call = profile.call()
    assert isinstance(await network.reconcile(call), Absent)
    stranger = replace(call.account, newest_external_id="0" * 32)
    assert isinstance(await network.reconcile(replace(call, account=stranger)), Inconclusive)
    early = replace(call, started_at=now() + timedelta(minutes=1))
    assert isinstance(await network.reconcile(early), Inconclusive)
    with_control = replace(call, account=stranger, control=other.external_id)
    assert isinstance(await network.reconcile(with_control), Absent)
    later = await network.publish(profile.call())
    with_later_control = replace(with_control, control=later.external_id)
    assert isinstance(await network.reconcile(with_later_control), Inconclusive)


async def test_a_reconnect_after_the_call_proves_nothing(network: Sandbox) -> None:
    profile = await connected(network, "ambiguous_published")
    call = profile.call()
    with pytest.raises(Uncertain):
        await network.publish(call)
    anew = await connected(network, "ambiguous_published")
    control = anew.account.newest_external_id
    seen = replace(call, credentials=anew.credentials, account=anew.account, control=control)
    assert isinstance(await network.reconcile(seen), Inconclusive)
    assert isinstance(await network.reconcile(replace(seen, started_at=now())), Absent)


async def test_long_lists_are_read_to_the_call(network: Sandbox, database: Database) -> None:
    profile = await connected(network, "always_ok")
    call = profile.call()
    await network.publish(call)
    await _fill(database, call.started_at, 250)
    assert isinstance(await network.reconcile(call), Found)
    lost = profile.call()
    assert isinstance(await network.reconcile(replace(lost, started_at=call.started_at)), Absent)
    await _fill(database, call.started_at, 300)
    assert isinstance(await network.reconcile(replace(lost, started_at=call.started_at)), Inconclusive)


async def _fill(database: Database, at: datetime, count: int) -> None:
    statement = """
        insert into sandbox_posts (id, profile_id, target, marker, text, media, pinned, visible_at, created_at)
        select gen_random_uuid(), (select id from sandbox_profiles), 'always_ok', 'x', 'x', '[]', false, :at, :at
        from generate_series(1, :count)
    """
    async with database.session() as session:
        await session.execute(text(statement), {"at": at + timedelta(milliseconds=1), "count": count})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"[" * 20_000,
        b'{"profile":"always_ok","marker":"m","text":"a","text":"b"}',
        b'{"profile":"always_ok","marker":"m","text":"a","extra":1}',
        b'{"profile":"always_ok","marker":"","text":"a"}',
        b'{"profile":"always_ok","text":"a"}',
        b'{"profile":"always_ok","marker":"m","text":NaN}',
        b'{"profile":"always_ok","marker":"m","text":"\\ud800"}',
        b'{"profile":"always_ok","marker":"m","text":"\\u0000"}',
        b'{"profile":"always_ok","marker":"m","text":7}',
        b"\xff\xfe",
    ],
)
async def test_malformed_bodies_are_refused(network: Sandbox, body: bytes) -> None:
    profile = await connected(network, "always_ok")
    headers = {"Authorization": f"Bearer {profile.credentials.values['access_token']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        answer = await session.post(f"{network._base_url}/posts", data=body)
        assert answer.status == 400
        assert (await answer.json())["error"] == "invalid_request"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=5&limit=6", "page=1", "from=x", "from=2026-01-01T00:00:00~x"]
)
async def test_malformed_queries_are_refused(network: Sandbox, query: str) -> None:
    profile = await connected(network, "always_ok")
    headers = {"Authorization": f"Bearer {profile.credentials.values['access_token']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        answer = await session.get(f"{network._base_url}/posts?profile=always_ok&{query}")
        assert answer.status == 400


async def test_strangers_reach_nothing(network: Sandbox) -> None:
    mine, theirs = await connected(network, "always_ok"), await connected(network, "always_ok-other")
    call = mine.call()
    receipt = await network.publish(call)
    foreign = replace(call, credentials=theirs.credentials, external_id=receipt.external_id)
    with pytest.raises(Forbidden):
        await network.publish(foreign)
    await network.delete(foreign)  # not theirs: for them it is not there
    assert isinstance(await network.reconcile(call), Found)
    same = await connected(network, "always_ok")
    assert isinstance(await network.reconcile(replace(call, credentials=same.credentials)), Inconclusive)
    unknown = replace(call.credentials, values={"access_token": "x"})
    with pytest.raises(Expired):
        await network.publish(replace(call, credentials=unknown))


def test_findings_say_what_does_not_fit() -> None:
    network = Sandbox(None, base_url="http://unused")  # type: ignore[arg-type]
    assert network.check(Draft("x" * 500)) == []
    assert [one.code for one in network.check(Draft("  "))] == ["empty"]
    (long,) = network.check(Draft("ß" * 501))
    assert (long.code, long.pointer, long.limit, long.actual) == ("text_too_long", "/text", 500, 501)
    crowd = network.check(Draft("", (IMAGE,) * 5))
    assert [(one.code, one.severity) for one in crowd] == [("too_many_media", "error")]
    bare = network.check(Draft("", (replace(IMAGE, alt_text=""),)))
    assert [(one.code, one.severity, one.pointer) for one in bare] == [("alt_text_missing", "warning", "/media/0")]
    odd = network.check(Draft("", (replace(IMAGE, content_type="image/svg+xml", size_bytes=6_000_000),)))
    assert [one.code for one in odd] == ["media_type", "media_too_large"]


def test_figures_only_grow() -> None:
    from uuid import uuid4

    for _ in range(50):
        post_id, last = uuid4(), behaviours.Figures(0, 0, 0, 0)
        for hours in range(0, 1_000, 7):
            present = behaviours.figures(post_id, timedelta(hours=hours))
            assert present.views >= last.views
            assert present.likes >= last.likes
            assert present.views >= present.likes >= present.comments
            last = present
        assert last.views >= behaviours.VIEWS_LEAST - 1


def test_connector_and_server_agree_on_the_limits() -> None:
    rules = Sandbox(None, base_url="http://unused").capabilities  # type: ignore[arg-type]
    assert rules.text.max_length == behaviours.TEXT_LENGTH_MAX
    assert rules.media.max_count == behaviours.MEDIA_COUNT_MAX
    assert rules.media.max_bytes == behaviours.MEDIA_BYTES_MAX
    assert rules.media.content_types == behaviours.MEDIA_TYPES
    assert rules.media.max_alt_length == behaviours.ALT_LENGTH_MAX
