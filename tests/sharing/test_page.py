"""The page of a link through the door: it shows the post to a person, counts once, and tells its secret to nobody."""

import logging
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from api.pages.people.shared import OPENED_FOR
from core.clock import now
from core.crypto import hash_key, sign
from core.ids import decode, encode, new_id
from core.settings import Settings
from tenants.sharing.tokens import write_token
from tests.conftest import Platform, TestAgency
from tests.media.files import picture
from tests.sharing.desk import LATER, Desk, desk

__all__ = ["desk"]
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def guest(platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser of somebody without an account."""
    async with httpx2.AsyncClient(base_url=platform.url, follow_redirects=True, headers={"Accept-Language": "en"}) as client:
        yield client


def path_of(link: dict[str, Any]) -> str:
    """Where the page of a link is, here."""
    path: str = urlsplit(link["url"]).path
    return path


async def press(guest: httpx2.AsyncClient, path: str) -> httpx2.Response:
    """Press the button of the cover."""
    return await guest.post(path, headers=OURS)


async def opens(desk: Desk, link: dict[str, Any]) -> int:
    """How often the link was opened, as the agency reads it."""
    number: int = (await desk.client.get(f"{desk.base}/share-links/{link['id']}")).json()["opens"]
    return number


def neutral(answer: httpx2.Response) -> str:
    """A page for what is dead or never was, less what differs by right: a form's answer has no address in another language."""
    assert answer.status_code == 404, answer.text
    return re.sub(r"req_\w+|<footer>.*</footer>\n", "", answer.text, flags=re.DOTALL)


async def test_a_person_sees_the_post_with_its_pictures_its_time_and_its_state(desk: Desk, guest: httpx2.AsyncClient) -> None:
    link = await desk.link()
    shown = await press(guest, path_of(link))
    assert shown.status_code == 200, shown.text
    for words in ("First client", "Fresh rolls", "Sandbox", "always_ok", "Scheduled", "Tuesday", "June", "09:00", "Europe/Berlin"):
        assert words in shown.text, words
    assert '<time datetime="2027-06-01T09:00+02:00">' in shown.text
    assert 'alt="A loaf" width="64" height="48"' in shown.text
    for word in ("crm-1", "spring", "pst_", "wsp_", "acc_", "pub_", "usr_", "mem_", "key_", "agc_", desk.asset["id"]):
        assert word not in shown.text, word
    (source,) = re.findall(r'<img src="([^"]+)"', shown.text)
    file = await guest.get(source)
    assert (file.status_code, file.headers["content-type"], len(file.content)) == (200, "image/png", desk.asset["size_bytes"])
    assert file.headers["content-disposition"] == "inline"
    assert file.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert file.headers["cross-origin-resource-policy"] == "same-origin"


async def test_looking_at_the_address_opens_nothing_and_one_opening_is_page_and_pictures(
    desk: Desk, guest: httpx2.AsyncClient, platform: Platform
) -> None:
    link = await desk.link(max_opens=1)
    path = path_of(link)
    # As programs do that look at every link of a mail
    for _ in range(3):
        cover = await guest.get(path)
        assert (cover.status_code, "Show the post" in cover.text, "Fresh rolls" in cover.text) == (200, True, False)
    picture_path = f"{path}/media/{desk.asset['versions'][0]['id']}"
    assert (await guest.get(picture_path)).status_code == 404
    assert await opens(desk, link) == 0
    # Then a person does, reloads, chooses another language and presses once more
    assert "Fresh rolls" in (await press(guest, path)).text
    assert "Fresh rolls" in (await guest.get(path)).text
    assert "Запланирован" in (await guest.get(f"{path}?lang=ru")).text
    assert "Fresh rolls" in (await press(guest, path)).text
    assert (await guest.get(picture_path)).status_code == 200
    assert await opens(desk, link) == 1
    # That was the last opening: in another browser nothing is there any more, and no picture is
    async with httpx2.AsyncClient(base_url=platform.url, headers={"Accept-Language": "en"}) as another:
        never = neutral(await another.get(f"/shared/{write_token(new_id())}"))
        for answer in (await another.get(path), await press(another, path), await another.get(picture_path)):
            assert neutral(answer) == never
    assert await opens(desk, link) == 1


async def test_what_was_opened_is_over_after_an_hour_and_opens_no_other_link(
    desk: Desk, guest: httpx2.AsyncClient, settings: Settings
) -> None:
    first, second = await desk.link(), await desk.link()
    assert "Fresh rolls" in (await press(guest, path_of(first))).text
    assert "Fresh rolls" not in (await guest.get(path_of(second))).text
    (name,) = list(guest.cookies)
    own, value = f"shared-{'0' * 16}", guest.cookies[name]
    until, _, seal = value.partition(".")
    for wrong in ("", ".", "x", f"{int(until) + 1}.{seal}", f"{until}.", f"{until}.{seal[:-1]}", f"x.{seal}", f"{until}.é"):
        answer = await desk.anybody.get(path_of(first), headers=[(b"cookie", f"{name}={wrong}".encode())])
        assert "Fresh rolls" not in answer.text, wrong
    answer = await desk.anybody.get(path_of(second), headers={"Cookie": f"{own}={value}"})
    assert "Fresh rolls" not in answer.text
    # What was signed an hour ago, as it is signed now
    assert abs(int(until) - (now() + OPENED_FOR).timestamp()) < 60
    for moment, opened in ((now() - timedelta(seconds=1), False), (now() + timedelta(minutes=1), True)):
        until = str(int(moment.timestamp()))
        seal = sign(settings.secret.get_secret_value(), "opened share link", hash_key(first["token"]) + until.encode()).hex()
        answer = await desk.anybody.get(path_of(first), headers={"Cookie": f"{name}={until}.{seal}"})
        assert ("Fresh rolls" in answer.text) is opened


@pytest.mark.parametrize("end", ["revoked", "late", "used up", "deleted post"])
async def test_a_dead_link_is_the_page_of_one_that_never_was_also_for_who_had_opened_it(
    desk: Desk, guest: httpx2.AsyncClient, platform: Platform, agency: TestAgency, end: str
) -> None:
    link = await desk.link(max_opens=2)
    path, source = path_of(link), f"{path_of(link)}/media/{desk.asset['versions'][0]['id']}"
    opened = await press(guest, path)
    assert opened.status_code == 200
    if end == "revoked":
        assert (await desk.client.delete(f"{desk.base}/share-links/{link['id']}")).status_code == 204
    elif end == "late":
        async with platform.context.database.connection(agency.tenant) as db:
            await db.execute("update share_links set expires_at = now() where id = $1", decode("shl", link["id"]))
    elif end == "deleted post":
        assert (await desk.client.delete(f"{desk.base}/posts/{desk.post['id']}")).status_code == 204
    else:
        assert (await desk.open(link["token"])).status_code == 200
    never = f"/shared/{write_token(new_id())}"
    dead = neutral(await desk.anybody.get(never, headers={"Accept-Language": "en"}))
    browsers = [desk.anybody] if end == "used up" else [desk.anybody, guest]  # who had opened the last one still looks at it
    for browser in browsers:
        for method, place in (("GET", path), ("POST", path), ("GET", source)):
            answer = await browser.request(method, place, headers=OURS | {"Accept-Language": "en"})
            assert neutral(answer) == dead, (method, place)
            assert answer.headers["referrer-policy"] == "no-referrer"
    for text in ("x", link["token"][:-1], link["token"] + "0", "shl_", "oct_test_" + "0" * 70):
        assert neutral(await desk.anybody.get(f"/shared/{text}", headers={"Accept-Language": "en"})) == dead


async def test_a_link_fetches_the_pictures_of_its_own_post_and_of_nothing_else(
    desk: Desk, guest: httpx2.AsyncClient, platform: Platform, other: TestAgency
) -> None:
    link = await desk.link()
    assert (await press(guest, path_of(link))).status_code == 200
    unused = (await desk.client.post(f"{desk.base}/media", files={"file": ("b.png", picture("PNG"), "image/png")})).json()
    async with platform.client(other.key) as stranger:
        base = f"/v1/workspaces/{encode('wsp', other.workspace.id)}"
        foreign = (await stranger.post(f"{base}/media", files={"file": ("c.png", picture("PNG"), "image/png")})).json()
    never = neutral(await guest.get(f"{path_of(link)}/media/{encode('asv', new_id())}"))
    for version in (unused["versions"][0]["id"], foreign["versions"][0]["id"], "asv_x", "x", desk.asset["id"]):
        assert neutral(await guest.get(f"{path_of(link)}/media/{version}")) == never


async def test_texts_of_an_agency_are_words_and_nothing_else(desk: Desk, guest: httpx2.AsyncClient) -> None:
    evil = """<script>alert(1)</script> "><img src=x onerror=alert(2)> {{ 7 * 7 }} https://evil.example/x javascript:alert(3)"""
    account = desk.post["publications"][0]["account_id"]
    wish = {
        "text": evil, "account_ids": [account], "schedule": LATER, "media": [{"asset_id": desk.asset["id"], "alt_text": evil}],
    }  # fmt: skip
    made = await desk.client.post(f"{desk.base}/posts", json=wish)
    assert made.status_code == 201, made.text
    await desk.client.patch(f"{desk.base}", json={"name": evil[:100]}, headers={"If-Match": "*"})
    desk.post = made.json()
    shown = (await press(guest, path_of(await desk.link()))).text
    assert "&lt;script&gt;alert(1)" in shown
    assert "{{ 7 * 7 }}" in shown
    assert not re.findall(r"<script|onerror=[^&]*>|<img src=x", shown.replace("onerror=alert(2)&gt;", ""))
    assert [one for one in re.findall(r'href="([^"]+)"', shown) if "evil" in one or "javascript" in one] == []


async def test_the_secret_of_the_address_goes_nowhere_from_the_page(
    desk: Desk, guest: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    link = await desk.link()
    path = path_of(link)
    with caplog.at_level(logging.DEBUG, logger="octavo"):
        cover, opened = await guest.get(path), await guest.post(path, headers=OURS, follow_redirects=False)
        shown, file = await guest.get(path), await guest.get(f"{path}/media/{desk.asset['versions'][0]['id']}")
        lost = await guest.get(f"{path}x")
    assert (opened.status_code, opened.headers["location"]) == (303, path)
    for answer in (cover, opened, shown, file, lost):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
    for answer in (cover, shown):
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; img-src 'self';")
        assert "noindex" in answer.headers["x-robots-tag"]
        assert not re.findall(r"https?://", answer.text.replace(link["url"], ""))
    cookie = opened.headers["set-cookie"]
    assert link["token"] not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Max-Age=3600"))
    assert link["token"][4:] not in caplog.text


async def test_another_site_opens_no_link(desk: Desk, guest: httpx2.AsyncClient) -> None:
    link = await desk.link()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
        assert (await guest.post(path_of(link), headers=headers)).status_code == 403
    assert await opens(desk, link) == 0


async def test_who_tries_addresses_is_told_to_wait(platform: Platform, settings: Settings) -> None:
    transport = httpx2.ASGITransport(app=platform.app, client=("9.9.9.9", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://octavo.test") as guesser:
        answers = [await guesser.get(f"/shared/{write_token(new_id())}") for _ in range(settings.rate_limit_address + 1)]
    assert {one.status_code for one in answers[:-1]} == {404}
    assert answers[-1].status_code == 429


async def test_a_time_without_a_zone_is_told_in_the_workspaces(desk: Desk, guest: httpx2.AsyncClient) -> None:
    account = desk.post["publications"][0]["account_id"]
    zoned = await desk.client.patch(desk.base, json={"time_zone": "Asia/Dubai"}, headers={"If-Match": "*"})
    assert zoned.status_code == 200, zoned.text
    wish = {"text": "At a moment", "account_ids": [account], "schedule": {"at": "2027-06-01T09:00:00Z"}}
    made = await desk.client.post(f"{desk.base}/posts", json=wish)
    assert made.status_code == 201, made.text
    desk.post = made.json()
    shown = (await press(guest, path_of(await desk.link()))).text
    assert '<time datetime="2027-06-01T13:00+04:00">' in shown
    assert "Asia/Dubai" in shown
