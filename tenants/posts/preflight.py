"""Pre-flight: everything that is known about posts before their slot, brought together for `findings` to judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from core.duties import Statements
from core.errors import InvalidInput
from tenants.permissions import Actor, owned_sql
from tenants.posts.drafts import Content, MediaMissing, draft_of, media_facts
from tenants.posts.duplicates import find_twins, found_of, normalise
from tenants.posts.eyes import NEW, FourEyes
from tenants.posts.findings import DAY, Found, Place, Severity, Subject, find, skipped, together
from tenants.posts.schemas import PostCreate, VariantWish
from tenants.posts.service import Networks, contents, place, resolve_media, variant_rows
from tenants.posts.times import read_schedule

ACCOUNTS = """
select accounts.id, accounts.network, accounts.state, c.id is not null authorised, c.expires_at
from accounts left join connections c
  on c.agency_id = accounts.agency_id and c.account_id = accounts.id and c.state = 'active'
where {owned} and accounts.id = any($3::uuid[])
"""
THAT_DAY = """
select d.account_id, count(*) posts from publications d
where {owned} and d.account_id = any($3::uuid[]) and d.due_at > $4::timestamptz - $5::interval and d.due_at <= $4::timestamptz
  and d.post_id is distinct from $6 and d.state not in ('planned', 'cancelled', 'removed', 'failed', 'missed')
group by d.account_id
"""


class Verdict(NamedTuple):
    """What was found about one post, and what could not be looked at."""

    findings: list[Found]
    skipped: list[dict[str, Any]]

    @property
    def valid(self) -> bool:
        """It would be accepted."""
        return not any(one.severity == "error" for one in self.findings)


@dataclass(frozen=True, slots=True)
class Plan:
    """One post as it would go out: what each account gets, where that stands in the post, and when. `id` if it exists."""

    contents: Sequence[Content]
    places: Mapping[UUID, Place]
    due_at: datetime | None
    policy: str
    id: UUID | None = None


async def validate_post(
    db: asyncpg.Connection, actor: Actor, networks: Networks, workspace_id: UUID, wish: PostCreate, now: datetime
) -> Verdict:
    """Say what would become of a post, and store nothing.

    Raises Missing (workspace) and InvalidInput (accounts, files) as creating does: what is not there cannot be judged.
    """
    room = await place(db, actor, workspace_id, wish.account_ids)
    media = await resolve_media(db, actor, workspace_id, wish.media)
    variants = await variant_rows(db, actor, workspace_id, wish.account_ids, wish.variants)
    due_at, first = None, []
    if room.four_eyes and wish.schedule is not None:
        first.append(Found(FourEyes.code, "error", "/schedule", NEW))
    try:
        due_at = None if wish.schedule is None else read_schedule(wish.schedule, room.zone, now).at
    except InvalidInput as refusal:
        first += [Found(fault.code, "error", fault.pointer, fault.detail) for fault in refusal.faults]
    plan = Plan(contents(wish.text, media, variants), _places(wish.account_ids, wish.variants), due_at, wish.duplicate_policy)
    (verdict,) = await judge(db, actor, networks, workspace_id, [plan], now)
    return Verdict(first + verdict.findings, verdict.skipped)


def _places(account_ids: Sequence[UUID], wishes: Sequence[VariantWish]) -> dict[UUID, Place]:
    own = {wish.account_id: (position, wish) for position, wish in enumerate(wishes)}
    places = {}
    for position, account_id in enumerate(account_ids):
        account = f"/account_ids/{position}"
        if account_id not in own:
            places[account_id] = Place(account)
            continue
        number, wish = own[account_id]
        places[account_id] = Place(
            account,
            text="/text" if wish.text is None else f"/variants/{number}/text",
            media="/media" if wish.media is None else f"/variants/{number}/media",
            options=f"/variants/{number}/options",
        )
    return places


async def judge(
    db: Statements, actor: Actor, networks: Networks, workspace_id: UUID, plans: Sequence[Plan], now: datetime
) -> list[Verdict]:
    """Look at posts of one workspace: two statements for all of them, and one or two for each."""
    every = [content for plan in plans for content in plan.contents]
    ids = list({content.account_id for content in every})
    query = ACCOUNTS.format(owned=owned_sql("accounts"))
    accounts = {row["id"]: row for row in await db.fetch(query, actor.agency_id, workspace_id, ids)}
    facts = await media_facts(db, actor.agency_id, every)
    verdicts = []
    for plan in plans:
        counts = await _that_day(db, actor, networks, workspace_id, plan, accounts)
        subjects, found = [], []
        for content in plan.contents:
            account = accounts[content.account_id]
            try:
                subjects.append(_subject(plan, content, networks, account, facts, counts.get(content.account_id, 0)))
            except MediaMissing:
                place = plan.places[content.account_id].media
                detail = "A file of the post is not there any more."
                found.append(Found("media_missing", "error", place, detail, account["network"], content.account_id))
        found += [one for subject in subjects for one in find(subject)]
        found += together(subjects, {content.account_id: normalise(content.text) for content in plan.contents})
        found += await _duplicates(db, actor, workspace_id, plan, accounts, now)
        verdicts.append(Verdict(found, skipped(subjects)))
    return verdicts


def _subject(
    plan: Plan, content: Content, networks: Networks, account: asyncpg.Record, facts: Mapping[UUID, Any], posts_that_day: int
) -> Subject:
    return Subject(
        content=content,
        draft=draft_of(content, facts),
        place=plan.places[content.account_id],
        network=networks[account["network"]],
        state=account["state"],
        authorised=account["authorised"],
        expires_at=account["expires_at"],
        due_at=plan.due_at,
        posts_that_day=posts_that_day,
    )


async def _that_day(
    db: Statements, actor: Actor, networks: Networks, workspace_id: UUID, plan: Plan, accounts: Mapping[UUID, asyncpg.Record]
) -> dict[UUID, int]:
    """Count what goes out at the accounts in the 24 hours before the slot, where their networks name a figure."""
    limited = [
        content.account_id
        for content in plan.contents
        if networks[accounts[content.account_id]["network"]].capabilities.posts_per_day is not None
    ]
    if plan.due_at is None or not limited:
        return {}
    query = THAT_DAY.format(owned=owned_sql("d"))
    rows = await db.fetch(query, actor.agency_id, workspace_id, limited, plan.due_at, DAY, plan.id)
    return {row["account_id"]: row["posts"] for row in rows}


async def _duplicates(
    db: Statements, actor: Actor, workspace_id: UUID, plan: Plan, accounts: Mapping[UUID, asyncpg.Record], now: datetime
) -> list[Found]:
    """What others say nearly the same. A draft has no minute yet, so only its own accounts' last day counts."""
    if plan.policy == "allow":
        return []
    texts = {content.account_id: content.text for content in plan.contents}
    twins = await find_twins(db, actor, workspace_id, texts, plan.due_at or now, plan.id)
    if plan.due_at is None:
        twins = [twin for twin in twins if twin.account_id == twin.content_account_id]
    severity: Severity = "error" if plan.policy == "reject" and plan.due_at is not None else "warning"
    return [
        found_of(twin, accounts[twin.content_account_id]["network"], severity, plan.places[twin.content_account_id].text)
        for twin in twins
    ]


def stored_plan(post: asyncpg.Record, accounts: Mapping[UUID, int], variants: Sequence[asyncpg.Record]) -> Plan:
    """The plan of a stored post: `accounts` with the places of their publications, and the variants that differ from it,
    both in the order in which the API shows them."""
    own = {row["account_id"]: (number, row) for number, row in enumerate(variants)}
    rows, places = [], {}
    for account_id, position in accounts.items():
        number, row = own.get(account_id, (0, None))
        account = f"/publications/{position}"
        if row is None:
            rows.append((account_id, account_id, None, None, "{}"))
            places[account_id] = Place(account)
            continue
        rows.append((account_id, account_id, row["text"], row["media"], row["options"]))
        places[account_id] = Place(
            account,
            text="/text" if row["text"] is None else f"/variants/{number}/text",
            media="/media" if row["media"] is None else f"/variants/{number}/media",
            options=f"/variants/{number}/options",
        )
    drafts = contents(post["text"], orjson.loads(post["media"]), rows)
    return Plan(drafts, places, post["due_at"], post["duplicate_policy"], post["id"])
