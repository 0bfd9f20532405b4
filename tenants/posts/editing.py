"""Changing a post by merge patch: content, accounts, variants, references."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core import duties
from core.errors import Conflict, Fault, InvalidInput
from core.ids import new_id
from tenants.events.service import emit
from tenants.permissions import Actor, Permission
from tenants.posts import queries
from tenants.posts.delivery import KIND
from tenants.posts.eyes import refuse_change
from tenants.posts.schemas import METADATA_MAX, PostUpdate, VariantWish
from tenants.posts.service import (
    Found,
    Networks,
    check_stored,
    json_text,
    locked,
    refuse_in_work,
    resolve_media,
    variant_rows,
)
from tenants.posts.states import COMING, EDITABLE

CONTENT = frozenset({"text", "media", "account_ids", "variants"})
UPDATE = """
update posts set text = $3, media = $4::text::jsonb, external_ref = $5, details = $6::text::jsonb, version = version + 1,
  updated_at = $7, duplicate_policy = $8, content_by = $9
where agency_id = $1 and id = $2
"""
SET_VARIANTS = """
update variants v set text = x.text, media = x.media::jsonb, options = x.options::jsonb
from unnest($3::uuid[], $4::text[], $5::text[], $6::text[]) x(account_id, text, media, options)
where v.agency_id = $1 and v.post_id = $2 and v.account_id = x.account_id
"""
ADD = """
with variant as (
  insert into variants (agency_id, workspace_id, id, post_id, account_id)
  select $1, $2, x.v, $3, x.a from unnest($4::uuid[], $5::uuid[]) x(v, a))
insert into publications (agency_id, workspace_id, id, post_id, variant_id, account_id, network, state, due_at)
select $1, $2, x.d, $3, x.v, x.a, x.n, $8, $9 from unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::text[]) x(v, a, d, n)
"""
REMOVE = """
with gone as (delete from publications where agency_id = $1 and post_id = $2 and account_id = any($3::uuid[]))
delete from variants where agency_id = $1 and post_id = $2 and account_id = any($3::uuid[])
"""


async def update_post(
    db: asyncpg.Connection, actor: Actor, networks: Networks, workspace_id: UUID, post_id: UUID, wish: PostUpdate,
    expected: int | None, now: datetime,
) -> Found:  # fmt: skip
    """Apply a merge patch. Content changes only while no delivery has begun (409 `publish_in_progress`, `state_conflict`).

    Where four eyes are asked for, it changes only while nothing goes out by itself. Raises FourEyes.
    """
    post, rows = await locked(db, actor, workspace_id, post_id, expected)
    given = wish.model_fields_set
    if given & CONTENT:
        refuse_in_work(rows)
        if post["state"] == "archived" or any(row["state"] not in EDITABLE for row in rows):
            raise Conflict("The content of what is published cannot change.")
        refuse_change(post, rows, given & CONTENT)
    media = post["media"]
    if wish.media is not None:
        media = json_text(await resolve_media(db, actor, workspace_id, wish.media))
    await _store(db, actor, post, wish, media, now)
    if wish.account_ids is not None:
        await _set_accounts(db, actor, workspace_id, post, rows, wish.account_ids, now)
    if wish.variants is not None:
        await _set_variants(db, actor, workspace_id, post_id, wish.variants)
    if given & CONTENT and post["state"] == "scheduled":
        fresh = await queries.get_post(db, actor, workspace_id, post_id)
        current = await queries.publications_of(db, actor.agency_id, [post_id])
        await check_stored(db, actor, networks, workspace_id, fresh, [row["account_id"] for row in current], fresh["due_at"])
    await emit(db, actor.agency_id, [(workspace_id, "post.updated", post_id, {"fields": sorted(given)})])
    return post, rows


async def _store(db: asyncpg.Connection, actor: Actor, post: asyncpg.Record, wish: PostUpdate, media: str, now: datetime) -> None:
    details = orjson.loads(post["details"])
    if wish.metadata is not None:
        details |= wish.metadata
        if len(details) > METADATA_MAX:
            raise InvalidInput(faults=[Fault("/metadata", "validation_failed", f"At most {METADATA_MAX} entries.")])
    reference = wish.external_ref if "external_ref" in wish.model_fields_set else post["external_ref"]
    try:
        await db.execute(
            UPDATE,
            actor.agency_id,
            post["id"],
            post["text"] if wish.text is None else wish.text,
            media,
            reference,
            json_text(details),
            now,
            wish.duplicate_policy or post["duplicate_policy"],
            actor.eyes if wish.model_fields_set & CONTENT else post["content_by"],
        )
    except asyncpg.UniqueViolationError as error:
        raise Conflict(code="external_ref_exists") from error


async def _set_accounts(
    db: asyncpg.Connection, actor: Actor, workspace_id: UUID, post: asyncpg.Record, rows: Sequence[asyncpg.Record],
    wanted: Sequence[UUID], now: datetime,
) -> None:  # fmt: skip
    accounts = await queries.accounts_of(db, actor, workspace_id, wanted)
    missing = [position for position, id in enumerate(wanted) if id not in accounts]
    if missing or len(set(wanted)) != len(wanted):
        detail = "Each account of the workspace at most once."
        raise InvalidInput(faults=[Fault(f"/account_ids/{position}", "not_found", detail) for position in missing or [0]])
    present = {row["account_id"]: row for row in rows}
    leaving = [row for id, row in present.items() if id not in accounts]
    if any(row["attempts"] > 0 for row in leaving):
        raise Conflict("A delivery that was tried stays: cancel it instead.")
    await duties.drop(db, KIND, [row["id"] for row in leaving])
    await db.execute(REMOVE, actor.agency_id, post["id"], [row["account_id"] for row in leaving])
    coming = [id for id in wanted if id not in present]
    if not coming:
        return
    ids = [new_id() for _ in coming]
    # It goes with the others at a time that is to come, if the caller may schedule. Else it waits to be given one.
    goes = post["state"] == "scheduled" and post["due_at"] > now and any(row["state"] in COMING for row in rows)
    state = "scheduled" if goes and Permission.POST_SCHEDULE in actor.permissions else "planned"
    arguments: list[Any] = [[new_id() for _ in coming], coming, ids, [accounts[id]["network"] for id in coming]]
    await db.execute(ADD, actor.agency_id, workspace_id, post["id"], *arguments, state, post["due_at"])
    if state == "scheduled":
        due = [(id, post["due_at"], account_id) for id, account_id in zip(ids, coming, strict=True)]
        await duties.put(db, KIND, actor.agency_id, due, now)


async def _set_variants(
    db: asyncpg.Connection, actor: Actor, workspace_id: UUID, post_id: UUID, wishes: Sequence[VariantWish]
) -> None:
    rows = await queries.publications_of(db, actor.agency_id, [post_id])
    variants = await variant_rows(db, actor, workspace_id, [row["account_id"] for row in rows], wishes)
    columns = [[row[position] for row in variants] for position in (1, 2, 3, 4)]
    await db.execute(SET_VARIANTS, actor.agency_id, post_id, *columns)
