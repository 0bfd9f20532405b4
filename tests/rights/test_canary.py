"""A canary in every input that bears a secret, and a net over everything that could give one away.

The inputs are found in the document (format password, or write-only), so a new one fails here until somebody plants in it. Secrets
that are shown once may be in that one answer.
"""

import io
import json
import logging
import secrets
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx2
import pytest
from prometheus_client import REGISTRY, generate_latest
from pydantic import SecretStr

from api.rate_limits import RateLimits
from core import logging as house
from core import metrics
from core.db import Database
from core.ids import encode, new_id
from core.settings import Settings
from tenants.sharing.tokens import write_token
from tests.conftest import Platform, TestAgency, free_port
from tests.networks.test_conformance import Script, playing
from tests.people.people import browser, join, make_person
from tests.rights.net import Net, canary
from tests.rights.test_erasure import dump
from tests.rights.ways_in import authority, forms
from tests.walls.slots import options, resolve
from tests.walls.things import furnish

FIXTURE = Path(__file__).parents[1] / "networks/fixtures/bluesky/connect_ok_named_server_empty_account.json"


def inputs(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Every place of a body that bears a secret: operation and name."""
    found = set()
    for item in document["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                found |= {(operation["operationId"], name) for name in _secret(content["schema"], document, "")}
    return found


def _secret(schema: dict[str, Any], document: dict[str, Any], name: str) -> Iterator[str]:
    schema = resolve(schema, document)
    if schema.get("format") == "password" or schema.get("writeOnly"):
        yield name
        return
    for one in options(schema, document):
        if one is not schema and (one.get("format") == "password" or one.get("writeOnly")):
            yield name
        for inner, each in one.get("properties", {}).items():
            yield from _secret(each, document, f"{name}/{inner}")
        if isinstance(one.get("additionalProperties"), dict):
            yield from _secret(one["additionalProperties"], document, name)
        if "items" in one:
            yield from _secret(one["items"], document, name)


@pytest.fixture
def logged(settings: Settings) -> Iterator[io.StringIO]:
    """The log of the house, as it is written, of everything that there is to say."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    house.configure(settings.model_copy(update={"log_level": "DEBUG", "log_format": "json"}))
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    for name in ("httpx2", "httpcore2"):  # those of the callers here, who write down what they ask
        logging.getLogger(name).setLevel(logging.WARNING)
    written = io.StringIO()
    handler.setStream(written)
    yield written
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def figures(settings: Settings) -> Iterator[None]:
    """/metrics, counting."""
    own = not metrics._figures
    if own:
        metrics.serve(settings.model_copy(update={"metrics_port": free_port()}))
    yield
    if own:  # another test may want to count too, and the library knows one registry
        for figure in metrics._figures.values():
            REGISTRY.unregister(figure)
        metrics._figures.clear()


@pytest.fixture
async def settings(settings: Settings) -> Settings:
    """With secrets of the operator's own wherever one can be set that nothing here needs to be right."""
    return settings.model_copy(
        update={
            "media_secret_key": SecretStr(canary("media")),
            "sandbox_oauth_client_secret": SecretStr(canary("client")),
            "sandbox_oauth_client_id": "us",
            "sandbox_oauth_authorize_url": "http://127.0.0.1:9/authorize",
            "sandbox_oauth_token_url": "http://127.0.0.1:9/token",
            "sandbox_oauth_userinfo_url": "http://127.0.0.1:9/userinfo",
        }
    )


@pytest.fixture
def net(platform: Platform, settings: Settings) -> Net:
    net = Net()
    for name in ("media_secret_key", "sandbox_oauth_client_secret", "secret"):
        net.planted[name] = getattr(settings, name).get_secret_value()
    return net


class Planter:
    """Sends each request in the right form, and with the secret in the wrong one."""

    def __init__(self, net: Net, platform: Platform) -> None:
        self.net = net
        self.paths = {
            operation["operationId"]: (method, path)
            for path, item in platform.app.openapi()["paths"].items()
            for method, operation in item.items()
        }

    async def send(
        self, client: httpx2.AsyncClient, operation: str, body: dict[str, Any], names: tuple[str, ...], **ids: str
    ) -> httpx2.Response:
        """Plant in `names` of the body, all at once; a pointer names a field, or all of an object's."""
        method, path = self.paths[operation]
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", value)
        for name in names:
            self.net.tried.add((operation, name))
            secret = self.value(body, name)
            for wrong in ([secret], {"x": secret}):
                spoilt = json.loads(json.dumps(body)) | {name[1:]: wrong}
                await self._send(client, method, path, spoilt)
            # As a name it is no secret to who sent it, and comes back as the place of the fault; nobody else hears of it
            await client.request(method, path, json=body | {name[1:]: {secret: 1}})
        raw = json.dumps(body)
        for text in (raw[:-1], raw + "}", raw.replace("{", '{"\\ud800": 1, ', 1)):  # what is no JSON, or no Unicode
            self.net.keep(await client.request(method, path, content=text, headers={"Content-Type": "application/json"}))
        return await self._send(client, method, path, body)

    def value(self, body: dict[str, Any], name: str) -> str:
        """The secret of a field; of an object its last."""
        value = body[name[1:]]
        return str(list(value.values())[-1] if isinstance(value, dict) else value)

    async def _send(self, client: httpx2.AsyncClient, method: str, path: str, body: Any) -> httpx2.Response:
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        return self.net.keep(await client.request(method, path, json=body, headers=headers))


async def people(platform: Platform, net: Net, planter: Planter, agency: TestAgency) -> None:
    """Sign in, change the password, close the agency: with passwords and cookies as canaries."""
    database, email = platform.context.database, "ada@first.example"
    first, second = net.plant("password"), net.plant("new password")
    user = await make_person(database, email, first)
    for one in (agency, agency.sibling):
        assert one is not None
        await join(database, one, user, "owner")
    transport: Any = browser(platform.app)
    async with transport as client:
        wrong = {"email": email, "password": net.plant("wrong password")}
        assert (await planter.send(client, "sign_in", wrong, ("/password",))).status_code in {401, 429}
        platform.app.state.rate_limits = RateLimits(platform.app.state.settings)  # a minute goes by
        entered = net.keep(await client.post("/v1/sessions", json={"email": email, "password": first}))
        assert entered.status_code == 201, entered.text
        net.shown("cookie", client.cookies["sid"])
        body = {"current_password": first, "new_password": second}
        changed = await planter.send(client, "change_password", body, ("/current_password", "/new_password"))
        assert changed.status_code == 204, changed.text
        net.shown("second cookie", client.cookies["sid"])
        live = agency.sibling
        assert live is not None
        client.headers["Octavo-Agency"] = encode("agc", live.actor.agency_id)
        wish = {"name": "Staff", "issuer": "https://id.agency.example", "client_id": "octavo", "domains": ["agency.example"]}
        wish |= {"client_secret": net.plant("secret of a provider")}
        provider = await planter.send(client, "create_identity_provider", wish, ("/client_secret",))
        assert provider.status_code == 201, provider.text
        change = {"client_secret": net.plant("next secret of a provider")}
        ids = {"identity_provider_id": provider.json()["id"]}
        changed = await planter.send(client, "update_identity_provider", change, ("/client_secret",), **ids)
        assert changed.status_code == 200, changed.text
        net.keep(await client.get("/v1/identity-providers"))
        shown = await planter.send(client, "confirm_identity", {"password": second}, ("/password",))
        assert shown.status_code == 204, shown.text
        closed = net.keep(await client.post("/v1/agency/closure"))
        assert closed.status_code == 202, closed.text
        net.keep(await client.delete("/v1/agency/closure"))
    for header in ({"Cookie": f"sid={net.plant('cookie of nobody')}"}, {"Authorization": f"Bearer {net.plant('bearer')}"}):
        async with httpx2.AsyncClient(base_url=platform.url, headers=header) as client:
            net.keep(await client.get("/v1/me"))
    async with httpx2.AsyncClient(base_url=platform.url) as client:
        net.keep(await client.get("/v1/me", params={"key": f"oct_test_{net.plant('key in query')}"}))


async def doors(platform: Platform, net: Net, planter: Planter) -> None:
    """What is given at the other ways in, each wrong: second factors, links of mails, invitations."""
    database, email, password = platform.context.database, "eve@first.example", net.plant("password of eve")
    await make_person(database, email, password)
    platform.app.state.rate_limits = RateLimits(platform.app.state.settings)
    wishes: list[tuple[str, dict[str, Any]]] = [
        ("confirm_identity", {"password": net.plant("wrong password of eve")}),
        ("confirm_identity", {"code": net.plant("code of an app")}),
        ("confirm_totp", {"code": net.plant("first code of an app")}),
        ("complete_sign_in", {"code": net.plant("code")}),
        ("complete_sign_in", {"recovery_code": net.plant("recovery")}),
        ("confirm_email", {"token": net.plant("token of a mail")}),
        ("confirm_password_reset", {"token": net.plant("token of a reset"), "new_password": net.plant("reset password")}),
        ("look_at_invitation", {"token": net.plant("token that is looked at")}),
        ("accept_invitation", {"token": net.plant("token that is accepted")}),
        ("join_by_invitation", {"token": net.plant("token to join by"), "name": "Eve", "password": net.plant("first password")}),
    ]
    transport: Any = browser(platform.app)
    async with transport as client:
        entered = net.keep(await client.post("/v1/sessions", json={"email": email, "password": password}))
        assert entered.status_code == 201, entered.text
        net.shown("cookie of eve", client.cookies["sid"])
        for operation, body in wishes:
            names = tuple(f"/{name}" for name in body if name != "name")
            assert (await planter.send(client, operation, body, names)).status_code >= 400, operation
            platform.app.state.rate_limits = RateLimits(platform.app.state.settings)


async def networks(platform: Platform, net: Net, planter: Planter, agency: TestAgency) -> None:
    """Connect, complete and reconnect, by typed credentials and by what a network gives back; and a callback with a code."""
    live = agency.sibling
    assert live is not None
    password, access, refresh = net.plant("app password"), net.plant("access token"), net.plant("refresh token")
    exchanges = json.loads(FIXTURE.read_text())["exchanges"]
    exchanges[0]["request"] = {"path": "/xrpc/com.atproto.server.createSession"}
    exchanges[0]["answer"]["json"] |= {"accessJwt": access, "refreshJwt": refresh}
    exchanges[1]["request"] = {"path": "/xrpc/com.atproto.repo.listRecords"}
    script = Script(json.loads(json.dumps(exchanges * 3)), any_order=True)
    async with playing(script) as url, platform.client(live.key) as client:
        place = {"workspace_id": encode("wsp", live.workspace.id)}
        credentials = {"identifier": "alice.test", "service_url": url, "app_password": password}
        body = {"network": "bluesky", "credentials": credentials, "targets": "all"}
        made = await planter.send(client, "create_connect_session", body, ("/credentials",), **place)
        assert made.status_code == 201, made.text
        account = made.json()["accounts"][0]["id"]
        again = await planter.send(
            client, "reconnect_account", {"credentials": credentials}, ("/credentials",), account_id=account, **place
        )
        assert again.status_code < 300, again.text
        waiting = net.keep(
            await client.post(f"/v1/workspaces/{place['workspace_id']}/connect-sessions", json={"network": "bluesky"})
        )
        body = {"credentials": credentials, "targets": "all"}
        done = await planter.send(
            client, "complete_connect_session", body, ("/credentials",), connect_session_id=waiting.json()["id"], **place
        )
        assert done.status_code in {200, 409}, done.text
    async with platform.client(agency.key) as client, httpx2.AsyncClient(base_url=platform.url) as anybody:
        base = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
        begun = net.keep(await client.post(f"{base}/connect-sessions", json={"network": "sandbox", "method": "redirect"}))
        assert begun.status_code == 201, begun.text
        state = parse_qs(urlsplit(begun.json()["authorize_url"]).query)["state"][0]
        net.shown("state", state.rpartition(".")[2])
        query = {"state": state, "code": net.plant("code")}
        net.keep(await anybody.get("/connect/callback/sandbox", params=query))
        net.keep(await anybody.get("/connect/callback/sandbox", params={"state": net.plant("state of nobody"), "code": "x"}))
        linked = net.keep(await client.post(f"{base}/connect-sessions", json={"network": "sandbox", "link": True}))
        page = urlsplit(linked.json()["url"]).path
        net.shown("link of a page", page.rpartition(".")[2])
        shown, form = await anybody.get(page), {"handle": net.plant("handle on a page")}  # an address names itself in its own page
        assert shown.status_code == 200, shown.text
        sent = await anybody.post(page, data=form, headers={"Sec-Fetch-Site": "same-origin"})
        assert (sent.status_code, form["handle"] in sent.text) == (422, True), (
            sent.text
        )  # what is no secret comes back to who typed it
        net.keep(await anybody.get(f"/connect/{net.plant('link of nobody')}"))


async def keys_and_links(platform: Platform, net: Net, planter: Planter, agency: TestAgency) -> None:
    """Make what is shown once, and open it."""
    async with platform.client(agency.key) as client, httpx2.AsyncClient(base_url=platform.url) as anybody:
        things = await furnish(client, encode("wsp", agency.workspace.id))
        net.planted["first key"] = agency.key
        wish, once = {"name": "k", "scopes": ["post:read"]}, {"Idempotency-Key": "once"}
        made = net.keep(await client.post("/v1/api-keys", json=wish, headers=once))
        key = net.shown("key", made.json()["key"])
        net.keep(await client.post("/v1/api-keys", json=wish, headers=once))
        async with platform.client(key) as short:
            net.keep(await short.get("/v1/publications"))
            net.keep(await short.get("/v1/me"))
        base, body = f"/v1/workspaces/{things.ids['wsp']}", {"purpose": "post", "post_id": things.ids["pst"]}
        link = net.keep(await client.post(f"{base}/share-links", json=body))
        token = net.shown("share token", link.json()["token"])
        opened = await planter.send(anybody, "open_shared", {"token": token}, ("/token",))
        assert opened.status_code == 200
        page = urlsplit(link.json()["url"]).path
        assert net.keep(await anybody.get(page)).status_code == 200
        pressed = await anybody.post(page, headers={"Sec-Fetch-Site": "same-origin"})  # leads to its own address
        assert pressed.status_code == 303, pressed.text
        net.keep(await client.get(f"{base}/share-links"))
        net.planted["token of nobody"] = write_token(new_id())
        file = {"token": net.planted["token of nobody"], "asset_version_id": things.ids["asv"]}
        await planter.send(anybody, "open_shared_media", file, ("/token",))
        await platform.work("operation", "audit")
        for path in ("audit-entries", "events", "api-keys", "members"):
            net.keep(await client.get(f"/v1/{path}", params={"limit": 100}))


async def exported(platform: Platform, net: Net, *agencies: TestAgency) -> str:
    """Export everything of each. Returns what the archives hold."""
    found = []
    for agency in agencies:
        async with platform.client(agency.key) as client:
            taken = await client.post("/v1/agency/exports")
            await platform.work("operation")
            operation = net.keep(await client.get(taken.headers["Location"])).json()
            archive = zipfile.ZipFile(io.BytesIO((await client.get(operation["result"]["archive"]["url"])).content))
            found += [archive.read(name).decode("latin1") for name in archive.namelist()]
    return "\n".join(found)


@pytest.mark.timeout(120)
async def test_a_secret_is_found_nowhere_but_where_it_is_shown_once(
    platform: Platform, database: Database, agency: TestAgency, settings: Settings, net: Net,
    logged: io.StringIO, figures: None, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    planter = Planter(net, platform)
    assert agency.sibling is not None
    await keys_and_links(platform, net, planter, agency)
    await networks(platform, net, planter, agency)
    await people(platform, net, planter, agency)
    await doors(platform, net, planter)
    await authority(platform, net, agency)
    await forms(platform, net)
    await platform.work("publish", "refresh_token", "audit", "cleanup", "operation")
    archives = await exported(platform, net, agency, agency.sibling)
    # Everything that bears a secret was planted in
    assert net.tried == inputs(platform.app.openapi())
    assert len(net.planted) > 20
    # Then none of them is anywhere
    logging.getLogger("octavo.test").info("the net is out")
    said = logged.getvalue()
    assert "the net is out" in said
    owner = await asyncpg.connect(settings.database_url)
    for row in await owner.fetch("select relname from pg_class where relforcerowsecurity"):
        await owner.execute(f"alter table {row['relname']} no force row level security")
    held = await dump(owner, Path(settings.home) / "media")
    await owner.close()
    assert "idempotency_records.body" in held
    found = [
        *net.leaks("the log", said),
        *net.leaks("the figures", generate_latest(REGISTRY).decode()),
        *net.leaks("the database or the media", held),
        *net.leaks("the exports", archives),
        *net.answered(),
    ]
    assert not found, "\n".join(found)
    with capsys.disabled():
        sys.stdout.write(f"\ncanaries: {len(net.planted)} in {len(net.tried)} inputs, {len(net.answers)} answers, 0 found\n")


def test_the_net_catches_what_is_there() -> None:
    net = Net()
    secret = net.plant("x")
    net.answers = ["200 ok", f"422 {secret}"]
    assert len(net.answered()) == 1
    net.shown_by["x"] = 1
    assert net.answered() == []
    assert net.leaks("a log", f"... {secret} ...") == ["x in a log"]
