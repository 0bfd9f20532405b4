"""Mail: written with its cause, sent by a worker over a real server, in three languages, and never a header of somebody else's."""

from collections.abc import AsyncIterator
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from string import Formatter
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from core import duties
from core.clock import now
from core.db import Database, Person
from core.duties import SYSTEM
from core.ids import new_id
from core.mail import Letter, write
from core.settings import Settings
from tenants.mail.service import Wish, send_mail
from tenants.mail.texts import LOCALES, compose, texts
from tests.conftest import TestAgency
from tests.mail.server import certificate, post_office
from workers.context import Context, open_context
from workers.duties import run_batch

FACTS = {"inviter": "Ada", "agency": "First", "link": "https://octavo.test/invitations/secret-token", "days": "7"}
WISH = Wish("invitation", "bob@second.example", "en", FACTS)


@pytest.fixture
async def context(settings: Settings) -> AsyncIterator[Context]:
    """What a worker works with."""
    context = await open_context(settings)
    yield context
    await context.close()


async def work(context: Context, settings: Settings | None = None) -> int:
    """Send what is due."""
    context = context if settings is None else replace(context, settings=settings)
    async with context.duties_pool.acquire() as db:
        claimed = await duties.claim(db, "mail", 100, context.settings.lease, 1_000)
    await run_batch(context, "mail", claimed)
    return len(claimed)


async def ask(database: Database, context: Context, wish: Wish = WISH, agency: TestAgency | None = None) -> UUID:
    """Write a mail in a transaction of a person's, or of an agency's."""
    tenant, agency_id = (Person(new_id()), None) if agency is None else (agency.tenant, agency.actor.agency_id)
    async with database.connection(tenant) as db:
        return await send_mail(db, context.ring, wish, now(), agency_id=agency_id)


async def rows(settings: Settings) -> list[asyncpg.Record]:
    """All mails that there are, past the walls."""
    db = await asyncpg.connect(settings.database_url)
    await db.execute("alter table mails no force row level security")
    found = await db.fetch("select * from mails order by id")
    await db.execute("alter table mails force row level security")
    await db.close()
    return list(found)


async def soon(settings: Settings, seconds: int = 100_000) -> None:
    """Let the time until the next try pass."""
    db = await asyncpg.connect(settings.database_url)
    await db.execute("alter table duties no force row level security")
    await db.execute("update duties set due_at = due_at - make_interval(secs => $1)", seconds)
    await db.execute("alter table duties force row level security")
    await db.close()


def reading(folder: Path) -> list[EmailMessage]:
    """What lies in an outbox."""
    found = [message_from_bytes(path.read_bytes(), policy=default) for path in sorted(folder.glob("*.eml"))]
    return [one for one in found if isinstance(one, EmailMessage)]


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # what aiosmtpd says of TLS that it did not begin by STARTTLS
@pytest.mark.parametrize("at_once", [False, True], ids=["starttls", "smtps"])
async def test_mail_goes_over_tls_with_a_password_and_leaves_nothing_behind(
    settings: Settings, database: Database, context: Context, agency: TestAgency, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, at_once: bool,
) -> None:  # fmt: skip
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with post_office(pem, at_once=at_once) as office:
        mine = settings.model_copy(
            update={"smtp_url": SecretStr(office.url), "mail_from": "Octavo <post@octavo.test>", "environment": "production"}
        )
        # Given mail of a person and of an agency
        first, second = await ask(database, context), await ask(database, context, agency=agency)
        # When a worker sends it, and another message about the same duties comes
        assert [await work(context, mine), await work(context, mine)] == [2, 0]
    # Then each is there once, whole, and its row is gone
    assert {one["Message-ID"] for one in office.taken} == {f"<{id}@octavo.test>" for id in (first, second)}
    message = office.taken[0]
    assert (message["To"], message["From"]) == ("bob@second.example", "Octavo <post@octavo.test>")
    assert (message["Subject"], message["Auto-Submitted"]) == ("Ada invites you to First", "auto-generated")
    assert message["Date"].datetime.tzinfo is not None
    assert FACTS["link"] in message.get_content()
    assert await rows(settings) == []


async def test_nothing_is_sent_in_the_clear(
    settings: Settings, database: Database, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(database, context)
    with post_office(certificate(tmp_path), tls=False) as office:  # offers no STARTTLS
        update = {"smtp_url": SecretStr(office.url), "environment": "production"}
        await work(context, settings.model_copy(update=update))
        assert office.taken == []
        await soon(settings)
        await work(context, settings.model_copy(update=update | {"environment": "development"}))  # but on this machine
    assert len(office.taken) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
async def test_a_certificate_of_somebody_else_gets_no_mail(
    settings: Settings, database: Database, context: Context, tmp_path: Path
) -> None:
    await ask(database, context)
    with post_office(certificate(tmp_path), at_once=True) as office:
        await work(context, settings.model_copy(update={"smtp_url": SecretStr(office.url)}))
    assert office.taken == []
    assert [row["state"] for row in await rows(settings)] == ["waiting"]


async def test_what_is_refused_for_good_is_recorded_and_what_may_pass_comes_again(
    settings: Settings, database: Database, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with post_office(pem) as office:
        mine = settings.model_copy(update={"smtp_url": SecretStr(office.url)})
        await ask(database, context)
        office.answers = ["451 try later"]
        await work(context, mine)
        assert [(row["state"], row["refusal"]) for row in await rows(settings)] == [("waiting", None)]
        assert await work(context, mine) == 0  # not at once
        await soon(settings)
        office.answers = ["550 no such mailbox as bob@second.example"]
        await work(context, mine)
        row = (await rows(settings))[0]
        assert (row["state"], row["refusal"], row["sealed"]) == ("refused", "550", None)
        await soon(settings)
        assert await work(context, mine) == 0
        assert office.taken == []


async def test_a_server_that_stays_away_is_given_up(settings: Settings, database: Database, context: Context) -> None:
    mine = settings.model_copy(update={"environment": "production"})  # with no server at all
    await ask(database, context)
    await work(context, mine)
    db = await asyncpg.connect(settings.database_url)
    await db.execute("alter table mails no force row level security")
    await db.execute("update mails set created_at = created_at - interval '13 hours'")
    await db.close()
    await soon(settings)
    await work(context, mine)
    assert [(row["state"], row["refusal"]) for row in await rows(settings)] == [("given_up", "no OCTAVO_SMTP_URL")]


async def test_without_a_server_mail_lies_in_the_outbox_and_what_waits_is_sealed(
    settings: Settings, database: Database, context: Context
) -> None:
    await ask(database, context)
    waiting = str([dict(row) for row in await rows(settings)])
    assert "bob@" not in waiting
    assert "secret-token" not in waiting
    await work(context)
    (message,) = reading(Path(settings.home) / "outbox")
    assert FACTS["link"] in message.get_content()


async def test_mail_of_a_transaction_that_fails_is_never_sent(settings: Settings, database: Database, context: Context) -> None:
    async def fail() -> None:
        async with database.connection(Person()) as db:
            await send_mail(db, context.ring, WISH, now())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await work(context) == 0
    assert await rows(settings) == []


async def test_mail_of_one_agency_is_no_others(
    database: Database, context: Context, agency: TestAgency, other: TestAgency
) -> None:  # fmt: skip
    mine, persons = await ask(database, context, agency=agency), await ask(database, context)
    async with database.connection(other.tenant) as db:
        assert await db.fetchval("select count(*) from mails") == 0
        for owner, id in ((agency.actor.agency_id, mine), (SYSTEM, persons)):
            assert await db.fetchval("select count(*) from mails where agency_id = $1 and id = $2", owner, id) == 0
    async with database.connection(agency.tenant) as db:
        assert [row["id"] for row in await db.fetch("select id from mails")] == [mine]
    async with database.connection(Person(new_id())) as db:
        assert await db.fetchval("select count(*) from mails") == 0


def test_every_mail_is_written_in_every_language_with_the_same_facts() -> None:
    for name, locales in texts().items():
        assert set(locales) == set(LOCALES), name
        facts = {locale: _facts(text.subject + text.body) for locale, text in locales.items()}
        assert facts["ru"] == facts["ar"] == facts["en"], name


def _facts(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("locale", LOCALES)
def test_each_language_arrives_as_it_was_written(settings: Settings, locale: str) -> None:
    text = compose("invitation", locale, FACTS)
    sent = write(settings, Letter(new_id(), "bob@second.example", locale, text.subject, text.body), now()).as_bytes()
    message = message_from_bytes(sent, policy=default)
    assert isinstance(message, EmailMessage)
    assert (message["Subject"], message.get_content().split()) == (text.subject, text.body.split())
    assert message["Content-Language"] == locale
    assert sent.isascii()


@pytest.mark.parametrize("bad", ["x\r\nBcc: eve@evil.example", "x\nSubject: y", "x\u2028y\u0085z\x00", "{link}", "x" * 5_000])
def test_a_name_makes_no_header_and_no_line(settings: Settings, bad: str) -> None:
    text = compose("invitation", "en", FACTS | {"inviter": bad})
    sent = write(settings, Letter(new_id(), "bob@second.example", "en", text.subject, text.body), now()).as_bytes()
    message = message_from_bytes(sent, policy=default)
    assert isinstance(message, EmailMessage)
    assert (message["Bcc"], len(message.get_all("Subject", []))) == (None, 1)
    assert len(text.subject) < 600
    assert len(text.body.splitlines()) == len(compose("invitation", "en", FACTS).body.splitlines())


@pytest.mark.parametrize("bad", ["a@b.example\r\nBcc: e@e.example", "a@b.example, c@d.example", "a b@c.example", "nonsense"])
def test_an_address_is_one_address(settings: Settings, bad: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        write(settings, Letter(new_id(), bad, "en", "x", "y"), now())


def test_a_mail_server_is_named_well() -> None:
    for bad in ("http://mail.example", "smtp:///", "mail.example"):
        with pytest.raises(ValueError, match="mail server"):
            Settings(smtp_url=SecretStr(bad))
