"""E-mail that is verified and changed, and passwords that are forgotten: by links that hold once, for a while, for one mailbox."""

import asyncio
from dataclasses import replace

import asyncpg
import httpx2
from fastapi import FastAPI

from api.app import create_app
from core.db import Database
from core.ids import new_id
from core.settings import Settings
from tenants.people.links import RESET, write_link
from tests.people.credentials import add_app, deliver_mail, read_mail
from tests.people.people import PASSWORD, browser, make_person, sign_in
from workers.context import Context

NEW = "seven loud lanterns on the hill"


async def ask_reset(client: httpx2.AsyncClient, email: str) -> httpx2.Response:
    """Ask for a new password."""
    return await client.post("/v1/password-resets", json={"email": email})


async def reset(client: httpx2.AsyncClient, token: str, password: str = NEW) -> httpx2.Response:
    """Choose a new password by a link."""
    return await client.post("/v1/password-resets/confirm", json={"token": token, "new_password": password})


async def sql(settings: Settings, statement: str) -> list[asyncpg.Record]:
    """Say something to the database, past the walls."""
    db = await asyncpg.connect(settings.database_url)
    for table in ("users", "mail_links", "mails", "duties", "sessions"):
        await db.execute(f"alter table {table} no force row level security")
    found = await db.fetch(statement)
    for table in ("users", "mail_links", "mails", "duties", "sessions"):
        await db.execute(f"alter table {table} force row level security")
    await db.close()
    return list(found)


async def test_a_forgotten_password_is_replaced_by_mail_and_everything_before_ends(
    app: FastAPI, door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:
    async with browser(app) as home:
        await sign_in(home, ada)
        await ask_reset(door, " Ada@First.example")
        await ask_reset(door, ada)
        await deliver_mail(context)
        first, second = read_mail(settings)
        assert (first.to, first.subject) == (ada, "A new password for Octavo")
        assert (await reset(door, second.token, "short")).status_code == 422  # costs nothing
        assert (await reset(door, second.token, "octavo-ada-first.example")).status_code == 422
        assert (await reset(door, second.token)).status_code == 204
        # Then the session, the other link and the old password are gone, the e-mail is verified, and Ada is told
        assert (await home.get("/v1/sessions")).status_code == 401
        for token in (first.token, second.token):
            answer = await reset(door, token, "another nine quiet lanterns")
            assert (answer.status_code, answer.json()["code"]) == (422, "link_invalid")
        assert [(await sign_in(door, ada, one)).status_code for one in (PASSWORD, NEW)] == [401, 201]
    await deliver_mail(context)
    (told,) = read_mail(settings)
    assert (told.to, told.subject) == (ada, "Your password for Octavo was changed")
    stored = str([tuple(row) for row in await sql(settings, "select l::text from mail_links l")])
    assert second.token not in stored
    assert second.token[-64:] not in stored


async def test_a_new_password_takes_no_second_factor_away(
    app: FastAPI, door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:
    async with browser(app) as home:
        await sign_in(home, ada)
        await add_app(home)
    await ask_reset(door, ada)
    await deliver_mail(context)
    token = next(one.token for one in read_mail(settings) if "new password" in one.subject)
    assert (await reset(door, token)).status_code == 204
    assert (await sign_in(door, ada, NEW)).json()["state"] == "second_factor_needed"


async def test_asking_tells_nobody_who_is_here(
    door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:  # fmt: skip
    answers = [await ask_reset(door, email) for email in (ada, "nobody@first.example")]
    assert [(one.status_code, one.content) for one in answers] == [(202, b"")] * 2
    # The same was written for both: what differs is done by the worker
    written = await sql(settings, "select template, state, length(sealed) > 0 from mails")
    assert len(written) == 2
    assert len({tuple(row) for row in written}) == 1
    await deliver_mail(context)
    assert [one.to for one in read_mail(settings)] == [ada]
    assert await sql(settings, "select 1 from mails") == []
    assert (await ask_reset(door, "no e-mail at all")).status_code == 202
    assert await sql(settings, "select 1 from mails") == []


async def test_a_mail_that_is_sent_twice_has_one_link(
    door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:  # fmt: skip
    await ask_reset(door, ada)
    away = settings.model_copy(update={"environment": "production"})  # which has no mail server
    await deliver_mail(replace(context, settings=away))
    assert read_mail(settings) == []
    await sql(settings, "update duties set due_at = now() - interval '1 minute' where kind = 'mail'")
    await deliver_mail(context)
    (letter,) = read_mail(settings)
    assert len(await sql(settings, "select 1 from mail_links")) == 1
    assert (await reset(door, letter.token)).status_code == 204


async def test_one_person_gets_a_few_mails_an_hour(
    door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:  # fmt: skip
    assert {(await ask_reset(door, ada)).status_code for _ in range(8)} == {202}
    await deliver_mail(context)
    assert len(read_mail(settings)) == 5


async def test_one_address_asks_for_a_few_mails_a_minute(settings: Settings, ada: str) -> None:
    app = create_app(settings.model_copy(update={"rate_limit_address": 6}))
    async with app.router.lifespan_context(app), browser(app, "9.9.9.9") as robber, browser(app, "8.8.4.4") as owner:
        codes = [(await ask_reset(robber, f"{number}@first.example")).status_code for number in range(9)]
        assert codes == [202] * 6 + [429] * 3
        assert (await ask_reset(owner, ada)).status_code == 202


async def test_a_link_ends(door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context) -> None:
    await ask_reset(door, ada)
    await deliver_mail(context)
    (letter,) = read_mail(settings)
    await sql(settings, "update mail_links set expires_at = now() - interval '1 second'")
    assert (await reset(door, letter.token)).json()["code"] == "link_invalid"
    assert (await sign_in(door, ada)).status_code == 201


async def test_no_link_can_be_made_up_or_used_for_something_else(
    door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:
    await ask_reset(door, ada)
    await deliver_mail(context)
    token = read_mail(settings)[0].token
    secret = settings.secret.get_secret_value()
    bad = ["x", "0" * 116, token[:-1] + ("0" if token[-1] != "0" else "1"), token[::-1], token + "0", "é" * 116,
           write_link("another secret", RESET, new_id(), new_id()), write_link(secret, RESET, new_id(), new_id())]  # fmt: skip
    for one in bad:
        answer = await reset(door, one)
        assert answer.status_code == 422, one
    for one in (*bad, token):
        answer = await door.post("/v1/email-verifications/confirm", json={"token": one})
        assert answer.status_code == 422, one
    assert (await reset(door, token)).status_code == 204


async def test_links_at_once_are_used_once(door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context) -> None:
    await ask_reset(door, ada)
    await deliver_mail(context)
    token = read_mail(settings)[0].token
    answers = await asyncio.gather(*(reset(door, token, f"{number} quiet lanterns by the bay") for number in range(6)))
    assert sorted(one.status_code for one in answers) == [204] + [422] * 5


async def test_an_email_is_verified_by_its_mail(
    door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:  # fmt: skip
    await sql(settings, "update users set email_verified_at = null, locale = 'ru'")
    await sign_in(door, ada)
    assert (await door.post("/v1/email-verifications", json={})).status_code == 202
    await deliver_mail(context)
    (letter,) = read_mail(settings)
    assert (letter.to, letter.subject) == (ada, "Подтвердите адрес для Octavo")
    async with httpx2.AsyncClient(transport=door._transport, base_url="http://octavo.test") as anywhere:
        answer = await anywhere.post("/v1/email-verifications/confirm", json={"token": letter.token})
    assert (answer.status_code, answer.json()) == (200, {"email": ada})
    assert [row[0] is not None for row in await sql(settings, "select email_verified_at from users")] == [True]
    assert (await door.post("/v1/email-verifications/confirm", json={"token": letter.token})).status_code == 422


async def test_an_email_is_changed_once_the_new_one_answers_and_the_old_one_is_told(
    door: httpx2.AsyncClient, ada: str, settings: Settings, context: Context
) -> None:
    await ask_reset(door, ada)  # a link to the old mailbox
    await sign_in(door, ada)
    assert (await door.post("/v1/email-verifications", json={"email": "Ada@New.example"})).status_code == 202
    await deliver_mail(context)
    old, new = sorted(read_mail(settings), key=lambda one: one.to)
    assert (old.to, new.to) == (ada, "ada@new.example")
    assert (await sign_in(door, "ada@new.example")).status_code == 401
    assert (await door.post("/v1/email-verifications/confirm", json={"token": new.token})).status_code == 200
    assert [(await sign_in(door, one)).status_code for one in (ada, "ada@new.example")] == [401, 201]
    assert (await reset(door, old.token)).status_code == 422
    await deliver_mail(context)
    (told,) = read_mail(settings)
    assert (told.to, "ada@new.example" in told.body) == (ada, True)


async def test_nobody_learns_whose_an_email_is_but_its_mailbox(
    door: httpx2.AsyncClient, ada: str, database: Database, settings: Settings, context: Context
) -> None:
    await make_person(database, "bob@second.example")
    await sign_in(door, ada)
    answers = [
        await door.post("/v1/email-verifications", json={"email": one}) for one in ("bob@second.example", "x@y.example")
    ]  # fmt: skip
    assert [(one.status_code, one.content) for one in answers] == [(202, b"")] * 2
    await deliver_mail(context)
    token = next(one.token for one in read_mail(settings) if one.to == "bob@second.example")
    taken = await door.post("/v1/email-verifications/confirm", json={"token": token})
    assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")
    assert (await door.post("/v1/email-verifications", json={"email": "nonsense"})).status_code == 422


async def test_asking_to_verify_has_an_end(door: httpx2.AsyncClient, ada: str) -> None:
    await sign_in(door, ada)
    codes = [(await door.post("/v1/email-verifications", json={})).status_code for _ in range(7)]
    assert codes == [202] * 5 + [429] * 2


async def test_another_site_asks_for_no_mail(door: httpx2.AsyncClient, ada: str) -> None:
    sent = {"Sec-Fetch-Site": "cross-site"}
    for path, body in (
        ("/v1/password-resets", {"email": ada}), ("/v1/password-resets/confirm", {"token": "x", "new_password": NEW}),
        ("/v1/email-verifications/confirm", {"token": "x"}), ("/v1/sessions/passkey", {"passkey": {}}),
    ):  # fmt: skip
        answer = await door.post(path, json=body, headers=sent)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), path
