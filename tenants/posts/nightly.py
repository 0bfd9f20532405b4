"""The nightly look at what is scheduled: the pre-flight again, because accounts, tokens and other posts change after it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.duties import Statements
from tenants.events.service import emit
from tenants.permissions import Actor
from tenants.posts import queries
from tenants.posts.findings import Found, worst
from tenants.posts.preflight import Plan, judge, stored_plan
from tenants.posts.queries import POST_COLUMNS
from tenants.posts.schemas import FindingRead
from tenants.posts.service import Networks

FINDINGS_PER_EVENT_MAX = 20
"""An event stays below 20 kB."""
WAITING = ("scheduled", "blocked", "retry_wait")
COMING = """
select distinct d.workspace_id, d.post_id from publications d
where d.agency_id = $1 and d.due_at > $5 and d.state = any($4::text[]) and (d.workspace_id, d.post_id) > ($2, $3)
order by d.workspace_id, d.post_id limit $6
"""
POSTS = f"select {POST_COLUMNS} from posts p where p.agency_id = $1 and p.id = any($2::uuid[])"
LAST = "select post_id, severity, bad::text bad from post_findings where agency_id = $1 and post_id = any($2::uuid[])"
STORE = """
insert into post_findings as f (agency_id, post_id, workspace_id, severity, bad, changed_at)
select $1, x.post_id, x.workspace_id, x.severity, x.bad::jsonb, $2
from unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[]) x(post_id, workspace_id, severity, bad)
on conflict (agency_id, post_id) do update set severity = excluded.severity, bad = excluded.bad, changed_at = excluded.changed_at
"""
Place = tuple[UUID, UUID]
"""Workspace and post: where the look stands."""


async def look(db: asyncpg.Connection, actor: Actor, networks: Networks, after: Place, limit: int, now: datetime) -> Place | None:
    """Look at the next `limit` posts that are to come. Returns where to go on; None: that was all.

    What turned bad since the last look is told by the event `post.findings_changed`; looking again at once tells nothing.
    """
    coming = await db.fetch(COMING, actor.agency_id, *after, list(WAITING), now, limit)
    if not coming:
        return None
    ids = [row["post_id"] for row in coming]
    posts = {row["id"]: row for row in await db.fetch(POSTS, actor.agency_id, ids)}
    plans = await _plans(db, actor, posts)
    found: dict[UUID, list[Found]] = {}
    for workspace_id in dict.fromkeys(row["workspace_id"] for row in coming):
        own = [plans[id] for id in ids if posts[id]["workspace_id"] == workspace_id]
        verdicts = await judge(db, actor, networks, workspace_id, own, now)
        found |= {plan.id: verdict.findings for plan, verdict in zip(own, verdicts, strict=True) if plan.id is not None}
    await _tell(db, actor, posts, found, now)
    return (coming[-1]["workspace_id"], coming[-1]["post_id"]) if len(coming) == limit else None


async def _plans(db: Statements, actor: Actor, posts: Mapping[UUID, asyncpg.Record]) -> dict[UUID, Plan]:
    publications: dict[UUID, list[asyncpg.Record]] = {id: [] for id in posts}
    variants: dict[UUID, list[asyncpg.Record]] = {id: [] for id in posts}
    for row in await queries.publications_of(db, actor.agency_id, list(posts)):
        publications[row["post_id"]].append(row)
    for row in await queries.variants_of(db, actor.agency_id, list(posts)):
        variants[row["post_id"]].append(row)
    return {id: stored_plan(post, _waiting(publications[id]), variants[id]) for id, post in posts.items()}


def _waiting(rows: Sequence[asyncpg.Record]) -> dict[UUID, int]:
    """The accounts that still wait, each with the place of its publication in the post."""
    return {row["account_id"]: position for position, row in enumerate(rows) if row["state"] in WAITING}


async def _tell(
    db: Statements, actor: Actor, posts: Mapping[UUID, asyncpg.Record], found: Mapping[UUID, list[Found]], now: datetime
) -> None:
    """Store what has changed since the last look, and tell what is bad and was not."""
    last = {row["post_id"]: row for row in await db.fetch(LAST, actor.agency_id, list(found))}
    changed: list[tuple[UUID, UUID, str, str]] = []
    events: list[tuple[UUID, str, UUID, dict[str, Any]]] = []
    for id, findings in found.items():
        bad = [one for one in findings if one.severity != "info"]
        keys, severity = sorted({one.key for one in bad}), worst(findings)
        known = orjson.loads(last[id]["bad"]) if id in last else []
        if id in last and (last[id]["severity"], known) == (severity, keys):
            continue
        changed.append((id, posts[id]["workspace_id"], severity, orjson.dumps(keys).decode()))
        if set(keys) - set(known):
            shown = [FindingRead.model_validate(one).model_dump(mode="json") for one in bad[:FINDINGS_PER_EVENT_MAX]]
            about = {"severity": severity, "findings": shown}
            events.append((posts[id]["workspace_id"], "post.findings_changed", id, about))
    if changed:
        await db.execute(STORE, actor.agency_id, now, *(list(column) for column in zip(*changed, strict=True)))
    await emit(db, actor.agency_id, events)
