"""The statements over posts and publications. They are bare SQL, because they are what everybody waits for.

Those that start from a caller begin with `owned_sql`, as SQLModel queries begin with `owned`: $1 the agency, $2 the workspace.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from core.duties import Statements
from core.errors import Missing
from core.filters import Filter
from tenants.audit.entries import insertion
from tenants.closed import require_open
from tenants.idempotency.records import UNLESS_KEPT
from tenants.permissions import Actor, owned_sql
from tenants.posts.states import RETRIABLE

POST_COLUMNS = """p.id, p.workspace_id, p.state, p.text, p.media::text media, p.due_at, p.local_at, p.time_zone,
p.external_ref, p.details::text details, p.duplicate_policy, p.version, p.created_at, p.updated_at"""
SHOWN_COLUMNS = f"""{POST_COLUMNS}, p.content_by,
(select w.four_eyes from workspaces w where w.agency_id = $1 and w.id = $2) four_eyes"""
"""With what the rule of four eyes needs; the statement begins with `owned_sql`, so the workspace is looked at once."""
PUBLICATION_COLUMNS = """d.id, d.workspace_id, d.post_id, d.account_id, d.network, d.state, d.due_at, d.next_at, d.attempts,
d.block_reason, d.external_id, d.external_url, d.published_at, d.resolution, d.error::text error"""
DELIVERY_COLUMNS = PUBLICATION_COLUMNS + ", d.retries, d.looks, d.unknown_since"

EYES_COLUMNS = ", ".join(
    f"case when d.state = any (string_to_array('{' '.join(sorted(RETRIABLE))}', ' ')) then ({look}) end {name}"
    for name, look in (
        ("content_by", "select p.content_by from posts p where p.agency_id = d.agency_id and p.id = d.post_id"),
        ("four_eyes", "select w.four_eyes from workspaces w where w.agency_id = d.agency_id and w.id = d.workspace_id"),
    )
)
"""The same for a publication: of the few alone that could be retried."""

WORKSPACE = "select id, time_zone, closed_at from workspaces where agency_id = $1 and id = $2"
FOUND = """
left join lateral (select id, network, state, external_id, name, handle from accounts
  where agency_id = $1 and workspace_id = $2 and id = x.id limit 1) a on true"""
"""One account for each id. Compared with the whole list, the planner may walk all accounts of the agency."""
PLACE = f"""
select w.time_zone, w.four_eyes, w.closed_at, a.* from workspaces w
left join unnest($3::uuid[]) x(id) on true {FOUND}
where w.agency_id = $1 and w.id = $2
"""
ACCOUNTS = f"select a.* from unnest($3::uuid[]) x(id) {FOUND} where a.id is not null"
CREATED = """
with post as (
  insert into posts (agency_id, workspace_id, id, state, text, media, due_at, local_at, time_zone, external_ref, details,
    duplicate_policy, version, created_by, content_by, created_at, updated_at)
  values ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8, $9, $10, $11::text::jsonb, $23, 1, $12, $24, $13, $13)
  on conflict (agency_id, workspace_id, external_ref) where external_ref is not null do nothing returning id),
variant as (
  insert into variants (agency_id, workspace_id, id, post_id, account_id, text, media, options)
  select $1, $2, v.id, post.id, v.account_id, v.text, v.media::jsonb, v.options::jsonb
  from post, unnest($14::uuid[], $15::uuid[], $16::text[], $17::text[], $18::text[]) v(id, account_id, text, media, options)),
publication as (
  insert into publications (agency_id, workspace_id, id, post_id, variant_id, account_id, network, state, due_at,
    created_at, updated_at)
  select $1, $2, d.id, post.id, d.variant_id, d.account_id, d.network, $20, $7, $13, $13
  from post, unnest($19::uuid[], $14::uuid[], $15::uuid[], $21::text[]) d(id, variant_id, account_id, network)),
duty as (
  insert into duties (agency_id, kind, subject_id, due_at, serial_key)
  select $1, 'publish', d.id, $7, d.account_id from post, unnest($19::uuid[], $15::uuid[]) d(id, account_id)
  where $20 = 'scheduled'),
happened as (
  insert into events (agency_id, workspace_id, id, type, subject_id, data)
  select $1, $2, $22, 'post.created', post.id, '{}'::jsonb from post)"""
KEPT = f"""
kept as (
  insert into idempotency_records as r (agency_id, key, fingerprint, expires_at, status, headers, body)
  select $1, $25::text, $26::bytea, now() + $27::interval, $28::int, $29::text::jsonb, $30::bytea from post
  {UNLESS_KEPT} returning 1)"""
INSERT = f"{CREATED} select 1 kept from post"
INSERT_TOLD = f"{CREATED}, {insertion(25)} select 1 kept from post"
INSERT_KEPT = f"{CREATED}, {KEPT}, {insertion(31)} select (select count(*) from kept) kept from post"
"""Answer and audit entry are known before their effect, so they go along: two round trips less."""
GET = "select " + SHOWN_COLUMNS + " from posts p where {owned} and p.id = $3"
PUBLICATIONS_OF = (
    "select " + DELIVERY_COLUMNS + " from publications d where d.agency_id = $1 and d.post_id = any($2::uuid[]) order by d.id"
)
SHOWN_OF = f"""
select {PUBLICATION_COLUMNS}, v.id variant_id, v.text variant_text, v.media::text variant_media, v.options::text variant_options
from publications d left join variants v on v.agency_id = d.agency_id and v.id = d.variant_id
  and (v.text is not null or v.media is not null or v.options <> '{{}}'::jsonb)
where d.agency_id = $1 and d.post_id = any($2::uuid[]) order by d.id
"""
VARIANTS_OF = """
select v.id, v.post_id, v.account_id, v.text, v.media::text media, v.options::text options from variants v
where v.agency_id = $1 and v.post_id = any($2::uuid[])
  and (v.text is not null or v.media is not null or v.options <> '{}'::jsonb) order by v.id
"""
GET_PUBLICATION = "select " + DELIVERY_COLUMNS + ", " + EYES_COLUMNS + " from publications d where {owned} and d.id = $3"
ATTEMPTS_OF = """
select id, number, outcome, started_at, finished_at, evidence, error::text error from attempts
where agency_id = $1 and publication_id = $2 order by number
"""


class Room(NamedTuple):
    """What a new post needs to know of its workspace, and the accounts that it names."""

    zone: str
    four_eyes: bool
    accounts: dict[UUID, asyncpg.Record]


async def workspace_zone(db: Statements, actor: Actor, workspace_id: UUID, *, look: bool = False) -> str:
    """The time zone of a workspace that the caller sees. Raises Missing and, unless it is for a look, Conflict (closed)."""
    actor.see(workspace_id)
    rows = await db.fetch(WORKSPACE, actor.agency_id, workspace_id)
    if not rows:
        raise Missing
    if not look:
        require_open(rows[0]["closed_at"])
    zone: str = rows[0]["time_zone"]
    return zone


async def place(db: Statements, actor: Actor, workspace_id: UUID, ids: Sequence[UUID]) -> Room:
    """A workspace that the caller sees, and those of `ids` that are its accounts. Raises Missing, Conflict (closed)."""
    actor.see(workspace_id)
    rows = await db.fetch(PLACE, actor.agency_id, workspace_id, list(ids))
    if not rows:
        raise Missing
    require_open(rows[0]["closed_at"])
    accounts = {row["id"]: row for row in rows if row["id"] is not None}
    return Room(rows[0]["time_zone"], rows[0]["four_eyes"], accounts)


async def accounts_of(db: Statements, actor: Actor, workspace_id: UUID, ids: Sequence[UUID]) -> dict[UUID, asyncpg.Record]:
    """Those of `ids` that are accounts of the workspace."""
    rows = await db.fetch(ACCOUNTS, actor.agency_id, workspace_id, list(ids))
    return {row["id"]: row for row in rows}


async def get_post(db: Statements, actor: Actor, workspace_id: UUID, post_id: UUID, *, lock: bool = False) -> asyncpg.Record:
    """One post of the caller's. Raises Missing."""
    actor.see(workspace_id)
    query = GET.format(owned=owned_sql("p")) + (" for update" if lock else "")
    rows = await db.fetch(query, actor.agency_id, workspace_id, post_id)
    if not rows:
        raise Missing
    return rows[0]


async def publications_of(db: Statements, agency_id: UUID, post_ids: Sequence[UUID], *, lock: bool = False) -> list[asyncpg.Record]:
    """The publications of posts that the caller was shown to own."""
    return await db.fetch(PUBLICATIONS_OF + (" for update" if lock else ""), agency_id, list(post_ids))


async def shown_of(db: Statements, agency_id: UUID, post_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """The publications of posts that the caller was shown to own, each with its variant where that differs from the post."""
    return await db.fetch(SHOWN_OF, agency_id, list(post_ids))


async def variants_of(db: Statements, agency_id: UUID, post_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """The variants that differ from their post."""
    return await db.fetch(VARIANTS_OF, agency_id, list(post_ids))


async def get_publication(db: Statements, actor: Actor, workspace_id: UUID, id: UUID) -> asyncpg.Record:
    """One publication of the caller's. Raises Missing."""
    actor.see(workspace_id)
    rows = await db.fetch(GET_PUBLICATION.format(owned=owned_sql("d")), actor.agency_id, workspace_id, id)
    if not rows:
        raise Missing
    return rows[0]


async def attempts_of(db: Statements, agency_id: UUID, publication_id: UUID) -> list[asyncpg.Record]:
    """The attempts of a publication that the caller was shown to own."""
    return await db.fetch(ATTEMPTS_OF, agency_id, publication_id)


async def list_posts(db: Statements, actor: Actor, workspace_id: UUID, wanted: Filter, limit: int) -> list[asyncpg.Record]:
    """A page of the workspace's posts, newest first. `wanted` began with the agency and the workspace."""
    actor.see(workspace_id)
    query = f"select {SHOWN_COLUMNS} from posts p where {owned_sql('p')}{wanted.sql} order by p.id desc limit {int(limit)}"
    return await db.fetch(query, *wanted.arguments)


async def list_publications(db: Statements, actor: Actor, wanted: Filter, limit: int) -> list[asyncpg.Record]:
    """A page of the agency's publications in the workspaces that the caller sees, newest first. $1 the agency, $2 those."""
    query = (
        f"select {PUBLICATION_COLUMNS}, {EYES_COLUMNS} from publications d where d.agency_id = $1"
        f" and ($2::uuid[] is null or d.workspace_id = any($2)){wanted.sql} order by d.id desc limit {int(limit)}"
    )
    return await db.fetch(query, *wanted.arguments)
