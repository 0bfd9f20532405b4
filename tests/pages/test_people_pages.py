"""What holds for every page on which people act: words in each language, headers, no other site, no address but our own."""

import re
import string
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from api.pages.people.frame import own_path, policy
from api.pages.people.language import LANGUAGES, catalogue
from core.db import Database, Person
from core.ids import decode_suffix
from tests.conftest import TestAgency
from tests.people.credentials import add_app
from tests.people.people import PASSWORD, browser, join, make_person

PAGES = Path(__file__).parents[2] / "api/pages/people"
ADA = "ada@first.example"


@pytest.fixture
async def door(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser of nobody yet."""
    async with browser(app) as client:
        yield client


@pytest.fixture
async def ada(database: Database, agency: TestAgency) -> str:
    """Ada owns the first agency."""
    await join(database, agency, await make_person(database, ADA), "owner")
    return ADA


def _names(code: str) -> dict[str, set[str | None]]:
    """Every name of a catalogue with what is filled into its text."""
    return {
        f"{page}.{key}": {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
        for page, texts in catalogue(code).items()
        for key, text in texts.items()
    }


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_says_everything_and_fills_in_the_same(code: str) -> None:
    assert _names(code) == _names("en")
    assert [name for name, text in ((n, catalogue(code)[n.split(".")[0]][n.split(".")[1]]) for n in _names(code)) if not text] == []
    assert list(catalogue(code)) == sorted(catalogue(code))


def test_every_text_that_a_template_names_is_there() -> None:
    asked = {
        name
        for template in (PAGES / "templates").glob("*.html")
        for name in re.findall(r"""(?:say|plain)\("([\w.]+)"[,)]""", template.read_text())
    }
    assert asked
    assert asked - set(_names("en")) == set()


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_credential_that_a_network_asks_for_has_its_name_in_each_language(code: str, app: FastAPI) -> None:
    asked = {
        f"connect.{name}_{field.name}" for name, known in app.state.networks.items() for field in known.capabilities.credentials
    }
    assert "connect.sandbox_handle" in asked
    assert asked - set(_names(code)) == set()


def test_no_template_has_a_script_or_a_style_of_its_own() -> None:
    for template in (PAGES / "templates").glob("*.html"):
        assert not re.search(r"<style|style=|<script(?! src=)|\son\w+=|javascript:|\|\s*safe", template.read_text()), template.name


@pytest.mark.parametrize(
    ("query", "cookie", "accepted", "shown"),
    [
        ("", "", "", "en"),
        ("", "", "ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("", "", "en;q=0.5, ar;q=0.9", "ar"),
        ("", "", "ru;q=0, de", "en"),
        ("", "", "de, *;q=0.1", "en"),
        ("", "", ";;q=,,q=9," + "x," * 9_000, "en"),
        ("", "ar", "ru", "ar"),
        ("ru", "ar", "en", "ru"),
        ("xx", "xx", "ru", "ru"),
    ],
)
async def test_the_language_is_what_was_chosen_or_what_the_browser_likes(
    door: httpx2.AsyncClient, query: str, cookie: str, accepted: str, shown: str
) -> None:
    headers = {"Accept-Language": accepted} | ({"Cookie": f"lang={cookie}"} if cookie else {})
    answer = await door.get("/sign-in", params={"lang": query} if query else {}, headers=headers)
    direction = "rtl" if shown == "ar" else "ltr"
    assert f'<html lang="{shown}" dir="{direction}">' in answer.text
    assert answer.headers["content-language"] == shown
    assert answer.headers.get("set-cookie", "").startswith("lang=ru") == (query == "ru")


async def test_the_persons_own_language_counts_more_than_the_browsers(door: httpx2.AsyncClient, ada: str, app: FastAPI) -> None:

    await door.post("/sign-in", data={"email": ada, "password": PASSWORD})
    async with app.state.database.connection(Person(decode_suffix(door.cookies["sid"][:26]))) as db:
        await db.execute("update users set locale = 'ar'")
    assert (await door.get("/sessions", headers={"Accept-Language": "ru"})).headers["content-language"] == "ar"
    assert (await door.get("/sessions", params={"lang": "ru"})).headers["content-language"] == "ru"
    assert (await door.get("/sessions")).headers["content-language"] == "ru"


async def test_a_page_keeps_itself_to_itself(door: httpx2.AsyncClient) -> None:
    answer = await door.get("/sign-in")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await door.get("/docs/assets/people.css")).headers["content-type"].startswith("text/css")


def test_a_policy_names_where_a_form_may_lead_and_nothing_can_be_slipped_in() -> None:
    assert policy(leads_to=("https://a.example/x?y", "com.example.app:/z")).endswith(
        "form-action 'self' com.example.app: https://a.example"
    )
    assert policy(leads_to=("https://a.example; script-src *",)).endswith("form-action 'self' https://a.examplescript-src*")


@pytest.mark.parametrize(
    "text",
    [
        "", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "evil", "/\t/evil.example",
        "/\n/evil.example", "/é", "/" + "a" * 3_000, "\\/evil.example", " //evil.example", "/\x00",
    ],
)  # fmt: skip
async def test_one_is_led_on_to_no_other_site(door: httpx2.AsyncClient, ada: str, text: str) -> None:
    assert own_path(text) is None
    answer = await door.post("/sign-in", data={"email": ada, "password": PASSWORD, "next": text})
    if "\0" not in text:
        assert (answer.status_code, answer.headers["location"]) == (303, "/sessions")


async def test_one_is_led_on_to_where_one_wanted_to_be(door: httpx2.AsyncClient, ada: str) -> None:
    asked = await door.get("/sessions?lang=ar&a=%26b")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Fsessions%3Fa%3D%2526b")
    form = await door.get(asked.headers["location"])
    assert '<input type="hidden" name="next" value="/sessions?a=%26b">' in form.text
    answer = await door.post("/sign-in", data={"email": ada, "password": PASSWORD, "next": "/sessions?a=%26b"})
    assert answer.headers["location"] == "/sessions?a=%26b"


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/sessions"])
@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": "null"}, {}],
)
async def test_no_other_site_sends_a_form(door: httpx2.AsyncClient, ada: str, path: str, headers: dict[str, str]) -> None:
    assert (await door.post("/sign-in", data={"email": ada, "password": PASSWORD})).status_code == 303
    before = door.cookies["sid"]
    del door.headers["Sec-Fetch-Site"]
    answer = await door.post(path, data={"email": ada, "password": PASSWORD, "session": "x"}, headers=headers)
    assert (answer.status_code, "This came from another site" in answer.text) == (403, True)
    assert door.cookies["sid"] == before
    assert (await door.get("/sessions")).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"email=%FF&password=x", "application/x-www-form-urlencoded", 400),
        (b"email=a%00b&password=x", "application/x-www-form-urlencoded", 400),
        ("email=é".encode(), "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 500, "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 422),
        (b"email=" + b"a" * 300 + b"&password=x", "application/x-www-form-urlencoded", 422),
    ],
)
async def test_a_form_that_cannot_be_read_is_answered_with_a_page(
    door: httpx2.AsyncClient, body: bytes, kind: str, status: int
) -> None:
    answer = await door.post("/sign-in", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "set-cookie" not in answer.headers


async def test_what_was_filled_in_is_escaped_and_a_password_is_never_said_back(door: httpx2.AsyncClient) -> None:
    mark = '"><script>alert(1)</script>'
    answer = await door.post("/sign-in", data={"email": mark, "password": "canary-secret", "next": "/a\"'<b>"})
    assert answer.status_code == 401
    assert "<script" not in answer.text
    assert "<b>" not in answer.text
    assert "canary-secret" not in answer.text


async def test_too_many_passwords_are_refused_on_the_page_too(app: FastAPI, ada: str) -> None:
    async with browser(app, "9.9.9.9") as robber:
        answers = [await robber.post("/sign-in", data={"email": ada, "password": f"guess {number}"}) for number in range(6)]
        assert [one.status_code for one in answers] == [401] * 5 + [429]
        assert "Wait a minute" in answers[-1].text
        assert (await robber.post("/v1/sessions", json={"email": ada, "password": PASSWORD})).status_code == 429


async def test_nobody_ends_the_session_of_another(app: FastAPI, database: Database, ada: str) -> None:
    await make_person(database, "bob@second.example")
    async with browser(app) as hers, browser(app) as his:
        for client, email in ((hers, ada), (his, "bob@second.example")):
            await client.post("/sign-in", data={"email": email, "password": PASSWORD})
        theirs = (await hers.get("/v1/sessions")).json()["data"][0]["id"]
        for id in (theirs, "ses_01kazm3v9sfa4t2tq9gk1x7c5e", "x", ""):
            answer = await his.post("/sessions", data={"session": id})
            assert (answer.status_code, "There is nothing here" in answer.text) == (404, True)
        assert (await hers.get("/sessions")).status_code == 200


async def test_where_signing_in_leads_there_is_a_way_to_the_password(door: httpx2.AsyncClient, ada: str) -> None:
    answer = await door.post("/sign-in", data={"email": ada, "password": PASSWORD})
    assert '<a href="/security">' in (await door.get(answer.headers["location"])).text


async def test_the_second_step_says_for_whom_it_is_and_leads_back_to_sign_in_as_another(
    app: FastAPI, door: httpx2.AsyncClient, ada: str
) -> None:
    async with browser(app) as home:
        await home.post("/sign-in", data={"email": ada, "password": PASSWORD})
        await add_app(home)
    await door.post("/sign-in", data={"email": ada, "password": PASSWORD, "next": "/security"})
    half = door.cookies["sid"]
    for shown in (
        await door.get("/second-factor?next=/security"),
        await door.post("/second-factor", data={"code": "000000", "next": "/security"}),
    ):
        assert f"<bdi>{ada}</bdi>" in shown.text
        (form,) = re.findall(r'<form class="under" method="post" action="/sign-out">(.*?)</form>', shown.text, re.DOTALL)
        assert '<input type="hidden" name="next" value="/security">' in form
    answer = await door.post("/sign-out", data={"next": "/security"})
    assert answer.headers["location"] == "/sign-in?next=%2Fsecurity"
    # And the half session has ended
    async with browser(app, cookie=half) as old:
        assert (await old.get("/second-factor")).headers["location"] == "/sign-in"


@pytest.mark.parametrize("path", ["/second-factor", "/security"])
async def test_the_language_is_kept_where_one_is_led_to_sign_in(door: httpx2.AsyncClient, path: str) -> None:
    answer = await door.get(path, params={"lang": "ar", "next": "/sessions?a=b"})
    assert answer.status_code == 303
    assert (await door.get(answer.headers["location"])).headers["content-language"] == "ar"


async def test_who_waits_no_more_for_the_second_step_is_led_on_and_not_back_to_it(door: httpx2.AsyncClient, ada: str) -> None:
    await door.post("/sign-in", data={"email": ada, "password": PASSWORD})
    assert (await door.get("/second-factor?lang=ar")).headers["location"] == "/sign-in"
    assert (await door.get("/second-factor?next=/security")).headers["location"] == "/sign-in?next=%2Fsecurity"
