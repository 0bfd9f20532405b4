"""What a worker reads to do its part: publications with content, account, authorisation and policy, in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.duties import Statements
from networks.base import Target
from tenants.posts.drafts import Content
from tenants.posts.states import Delivery

LOAD = """
select d.id, d.workspace_id, d.post_id, d.account_id, d.network, d.state, d.due_at, d.next_at, d.attempts, d.retries,
  d.looks, d.unknown_since, d.block_reason, d.error::text error, d.resolution, d.external_id, d.external_url,
  d.published_at, d.handles::text handles, d.steps_done,
  coalesce(v.text, p.text) content, coalesce(v.media, p.media)::text media, v.options::text options,
  a.external_id account_external_id, a.name account_name, a.handle account_handle, a.url account_url,
  a.state account_state, a.control_external_id, a.details::text account_details,
  c.id connection_id, c.version connection_version, c.sealed, c.expires_at token_expires_at, w.late_policy, w.late_window_s,
  (select t.started_at from attempts t
   where t.agency_id = d.agency_id and t.publication_id = d.id and t.outcome in ('armed', 'unknown')) started_at, now() as at
from publications d
join posts p on p.agency_id = d.agency_id and p.id = d.post_id
join variants v on v.agency_id = d.agency_id and v.id = d.variant_id
join accounts a on a.agency_id = d.agency_id and a.id = d.account_id
join workspaces w on w.agency_id = d.agency_id and w.id = d.workspace_id
left join connections c on c.agency_id = d.agency_id and c.account_id = d.account_id and c.state = 'active'
where d.agency_id = $1 and d.id = any($2::uuid[])
for update of d
"""
"""The undecided attempt is asked for by each publication: joined, the planner may walk all that the agency ever had undecided."""
CONTROL = """
select external_id from publications where agency_id = $1 and account_id = $2 and state = 'published'
  and external_id is not null and published_at < $3 order by published_at desc limit 1
"""
HINDRANCES = {"paused": "paused", "disconnected": "disconnected", "needs_reconnect": "auth", "pending": "auth"}
"""State of an account -> why its publications are blocked."""


@dataclass(slots=True)
class Job:
    """One publication in a worker's hands."""

    id: UUID
    workspace_id: UUID
    post_id: UUID
    account_id: UUID
    network: str
    before: Delivery
    fence: int
    starts: int
    content: Content
    handles: dict[str, Any]
    steps_done: int
    account: Target
    control: str | None
    connection_id: UUID | None
    connection_version: int | None
    sealed: bytes | None
    token_expires_at: datetime | None
    hindrance: str | None
    late_policy: str
    late_window: timedelta
    started_at: datetime | None
    at: datetime


async def load(db: Statements, agency_id: UUID, started: Sequence[asyncpg.Record]) -> list[Job]:
    """Load and lock the publications of started duties. Those that are gone are missing from the answer."""
    owned = {row["subject_id"]: row for row in started}
    rows = await db.fetch(LOAD, agency_id, list(owned))
    return [_job(row, owned[row["id"]]) for row in rows]


BARE = """
select d.id, d.workspace_id, d.post_id, d.account_id, d.network, d.state, d.due_at, d.next_at, d.attempts, d.retries,
  d.looks, d.unknown_since, d.block_reason, d.error::text error, d.resolution, d.external_id, d.external_url,
  d.published_at, '{}' handles, 0 steps_done, '' content, '[]' media, '{}' options, '' account_external_id,
  '' account_name, null account_handle, null account_url, 'active' account_state, null control_external_id,
  '{}' account_details, null::uuid connection_id, null::int connection_version, null::bytea sealed,
  null::timestamptz token_expires_at, 'ask' late_policy, 0 late_window_s, null::timestamptz started_at, now() as at
from publications d where d.agency_id = $1 and d.id = any($2::uuid[]) for update
"""


async def load_bare(db: Statements, agency_id: UUID, started: Sequence[asyncpg.Record]) -> list[Job]:
    """Load publications without anything of theirs that could be what ends workers."""
    owned = {row["subject_id"]: row for row in started}
    rows = await db.fetch(BARE, agency_id, list(owned))
    return [_job(row, owned[row["id"]]) for row in rows]


async def control_of(db: Statements, agency_id: UUID, job: Job, before: datetime) -> str | None:
    """A post that is known to stand on the account: the last one that we published, or the newest seen when connecting."""
    value = await db.fetchval(CONTROL, agency_id, job.account_id, before)
    return job.control if value is None else str(value)


def _job(row: asyncpg.Record, duty: asyncpg.Record) -> Job:
    error = row["error"]
    before = Delivery(
        row["state"], row["due_at"], row["next_at"], row["attempts"], row["retries"], row["looks"], row["unknown_since"],
        row["block_reason"], None if error is None else orjson.loads(error), row["resolution"], row["external_id"],
        row["external_url"], row["published_at"],
    )  # fmt: skip
    hindrance = HINDRANCES.get(row["account_state"])
    if hindrance is None and row["sealed"] is None:
        hindrance = "auth"
    return Job(
        id=row["id"],
        workspace_id=row["workspace_id"],
        post_id=row["post_id"],
        account_id=row["account_id"],
        network=row["network"],
        before=before,
        fence=duty["fence"],
        starts=duty["starts"],
        content=Content(row["account_id"], row["content"], _loads(row["media"]), _loads(row["options"])),
        handles=_loads(row["handles"]),
        steps_done=row["steps_done"],
        account=Target(
            row["account_external_id"],
            row["account_name"],
            row["account_handle"],
            row["account_url"],
            _loads(row["account_details"]).get("network", {}),
            row["control_external_id"],
        ),
        control=row["control_external_id"],
        connection_id=row["connection_id"],
        connection_version=row["connection_version"],
        sealed=row["sealed"],
        token_expires_at=row["token_expires_at"],
        hindrance=hindrance,
        late_policy=row["late_policy"],
        late_window=timedelta(seconds=row["late_window_s"]),
        started_at=row["started_at"],
        at=row["at"],
    )


def _loads(text: str) -> Any:
    if text == "{}":
        return {}
    return [] if text == "[]" else orjson.loads(text)
