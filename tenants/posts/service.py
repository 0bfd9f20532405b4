"""Posts: creating, changing, timing and ending them. One transaction each, opened by the caller; nothing commits here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from core import duties
from core.duties import CHANNEL, NOTIFY
from core.errors import Conflict, Fault, InvalidInput, PreconditionFailed
from core.ids import new_id
from networks.base import Network
from tenants.audit.entries import wake
from tenants.events.service import emit
from tenants.idempotency.records import Record, check_written
from tenants.media.service import resolve
from tenants.permissions import Actor
from tenants.posts import queries
from tenants.posts.delivery import KIND, Change, delivery_of, write
from tenants.posts.drafts import Content, check
from tenants.posts.duplicates import refuse_twins
from tenants.posts.eyes import refuse_alone, refuse_new
from tenants.posts.moves import Cancelled, Scheduled
from tenants.posts.schemas import MediaWish, PostCreate, VariantWish
from tenants.posts.states import BUSY, CANCELLABLE, SCHEDULABLE, decide
from tenants.posts.times import Due, read_schedule

Networks = Mapping[str, Network]
Found = tuple[asyncpg.Record, list[asyncpg.Record]]
"""A post and its publications, as they were found and locked."""
VariantRow = tuple[UUID, UUID, str | None, str | None, str]
"""Id, account, text, media, options; null: as the post says."""
ARCHIVE = """
update posts set state = $3, version = version + 1, updated_at = $4 where agency_id = $1 and id = $2
"""
SET_TIME = """
update posts set state = 'scheduled', due_at = $3, local_at = $4, time_zone = $5, version = version + 1, updated_at = $6
where agency_id = $1 and id = $2
"""
DELETE = "delete from posts where agency_id = $1 and id = $2"


def json_text(value: Any) -> str:
    """Write JSON for a `jsonb` argument."""
    return orjson.dumps(value).decode()


async def place(db: asyncpg.Connection, actor: Actor, workspace_id: UUID, ids: Sequence[UUID]) -> queries.Room:
    """The workspace and the accounts that a post names. Raises Missing, InvalidInput with a pointer for each account."""
    room = await queries.place(db, actor, workspace_id, ids)
    faults = [
        Fault(f"/account_ids/{position}", "not_found", "There is no such account in the workspace.")
        for position, id in enumerate(ids)
        if id not in room.accounts
    ]
    if len(set(ids)) != len(ids):
        faults.append(Fault("/account_ids", "validation_failed", "An account is named twice."))
    if faults:
        raise InvalidInput(faults=faults)
    return room


def _wanted(wish: MediaWish) -> dict[str, Any]:
    named = {"asset_id": wish.asset_id, "asset_version_id": wish.asset_version_id, "alt_text": wish.alt_text}
    return {name: value for name, value in named.items() if value is not None}


async def resolve_media(
    db: asyncpg.Connection, actor: Actor, workspace_id: UUID, wishes: Sequence[MediaWish]
) -> list[dict[str, Any]]:
    """Pin each wished file to a version. Raises InvalidInput with a pointer for what is not the workspace's."""
    if not wishes:
        return []
    return await resolve(db, actor, workspace_id, [_wanted(wish) for wish in wishes])


async def variant_rows(
    db: asyncpg.Connection, actor: Actor, workspace_id: UUID, ids: Sequence[UUID], wishes: Sequence[VariantWish]
) -> list[VariantRow]:
    """Rows (id, account, text, media, options) of one variant per account, in the order of `ids`."""
    by_account = {wish.account_id: wish for wish in wishes}
    if len(by_account) != len(wishes) or not set(by_account) <= set(ids):
        raise InvalidInput(faults=[Fault("/variants", "validation_failed", "One variant per account, for accounts of the post.")])
    rows = []
    for account_id in ids:
        wish = by_account.get(account_id)
        media = None
        if wish is not None and wish.media is not None:
            media = json_text(await resolve_media(db, actor, workspace_id, wish.media))
        options = json_text(wish.options) if wish is not None and wish.options else "{}"
        rows.append((new_id(), account_id, wish.text if wish else None, media, options))
    return rows


def contents(text: str, media: Sequence[Mapping[str, Any]], variants: Sequence[VariantRow]) -> list[Content]:
    """What each account gets."""
    return [
        Content(
            account_id,
            text if own_text is None else own_text,
            media if own_media is None else orjson.loads(own_media),
            orjson.loads(options),
        )
        for _, account_id, own_text, own_media, options in variants
    ]


def texts_of(drafts: Sequence[Content]) -> dict[UUID, str]:
    """What each account will say."""
    return {content.account_id: content.text for content in drafts}


class NewPost(NamedTuple):
    """A post that is checked and not stored yet: its row and those of its publications, as reading them back will give them."""

    row: Mapping[str, Any]
    publications: Sequence[Mapping[str, Any]]
    variants: Sequence[VariantRow]

    @property
    def id(self) -> UUID:
        """The post's id."""
        found: UUID = self.row["id"]
        return found


async def create_post(
    db: asyncpg.Connection, actor: Actor, networks: Networks, workspace_id: UUID, wish: PostCreate, now: datetime
) -> NewPost:
    """Create a post with its variants, publications, duties and event. Raises what `plan_post` and `store_post` raise."""
    new = await plan_post(db, actor, networks, workspace_id, wish, now)
    await store_post(db, actor, new)
    return new


async def plan_post(
    db: asyncpg.Connection, actor: Actor, networks: Networks, workspace_id: UUID, wish: PostCreate, now: datetime
) -> NewPost:
    """Check a wish, and say what it becomes. Stores nothing.

    Raises Missing (workspace), InvalidInput (accounts, media, time, networks' rules), Conflict (`duplicate_content`), FourEyes.
    """
    room = await place(db, actor, workspace_id, wish.account_ids)
    refuse_new(four_eyes=room.four_eyes, scheduled=wish.schedule is not None)
    due = None if wish.schedule is None else read_schedule(wish.schedule, room.zone, now)
    media = await resolve_media(db, actor, workspace_id, wish.media)
    variants = await variant_rows(db, actor, workspace_id, wish.account_ids, wish.variants)
    if due is not None:
        drafts = contents(wish.text, media, variants)
        await check(db, actor, networks, room.accounts, drafts)
        if wish.duplicate_policy == "reject":
            await refuse_twins(db, actor, workspace_id, texts_of(drafts), due.at, None)
    return _new_post(actor, workspace_id, wish, due, json_text(media), variants, room, now)


async def store_post(
    db: asyncpg.Connection, actor: Actor, new: NewPost, told: Sequence[Any] = (), record: Record | None = None
) -> None:
    """Store a planned post and, with it, its audit entry (`entries.values`) and the record of its answer: one statement.

    Raises Conflict (`external_ref_exists`, `idempotency_in_flight`).
    """
    row, publications, variants = new
    columns = [list(column) for column in zip(*variants, strict=True)]
    statement = queries.INSERT_KEPT if record else queries.INSERT_TOLD if told else queries.INSERT
    kept = await db.fetchval(
        statement, actor.agency_id, row["workspace_id"], row["id"],
        row["state"], row["text"], row["media"], row["due_at"], row["local_at"], row["time_zone"], row["external_ref"],
        row["details"], actor.id, row["created_at"], *columns, [each["id"] for each in publications],
        publications[0]["state"], [each["network"] for each in publications], new_id(), row["duplicate_policy"],
        row["content_by"], *(record or ()), *told,
    )  # fmt: skip
    if kept is None:
        raise Conflict(code="external_ref_exists")
    check_written(kept)
    if told:
        await wake(db, actor.agency_id)
    if row["due_at"] is not None and row["due_at"] <= row["created_at"]:
        await db.execute(NOTIFY, CHANNEL, KIND)


def _new_post(
    actor: Actor, workspace_id: UUID, wish: PostCreate, due: Due | None, media: str, variants: Sequence[VariantRow],
    room: queries.Room, now: datetime,
) -> NewPost:  # fmt: skip
    post_id, at = new_id(), due.at if due else None
    row = {
        "id": post_id, "workspace_id": workspace_id, "state": "scheduled" if due else "draft", "text": wish.text,
        "media": media, "due_at": at, "local_at": due.local if due else None, "time_zone": due.time_zone if due else None,
        "external_ref": wish.external_ref, "details": json_text(wish.metadata), "duplicate_policy": wish.duplicate_policy,
        "version": 1, "created_at": now, "updated_at": now, "content_by": actor.eyes, "four_eyes": room.four_eyes,
    }  # fmt: skip
    fresh = {
        "post_id": post_id, "state": "scheduled" if due else "planned", "due_at": at, "next_at": None, "attempts": 0,
        "block_reason": None, "external_id": None, "external_url": None, "published_at": None, "resolution": None,
        "error": None,
    }  # fmt: skip
    publications = []
    for variant_id, account_id, text, own_media, options in variants:
        differs = text is not None or own_media is not None or options != "{}"
        shown = {"variant_text": text, "variant_media": own_media, "variant_options": options}
        delivery = {"id": new_id(), "account_id": account_id, "network": room.accounts[account_id]["network"]}
        publications.append(fresh | delivery | shown | {"variant_id": variant_id if differs else None})
    return NewPost(row, publications, variants)


async def locked(db: asyncpg.Connection, actor: Actor, workspace_id: UUID, post_id: UUID, expected: int | None = None) -> Found:
    """Lock a post, its duties and its publications, in the order that workers take them too.

    `expected` is the version that the caller has seen. Raises Missing, PreconditionFailed.
    """
    post = await queries.get_post(db, actor, workspace_id, post_id, lock=True)
    if expected is not None and expected != post["version"]:
        raise PreconditionFailed
    found = await queries.publications_of(db, actor.agency_id, [post_id])
    await duties.lock(db, KIND, [row["id"] for row in found])
    return post, await queries.publications_of(db, actor.agency_id, [post_id], lock=True)


def changes_of(rows: Sequence[asyncpg.Record], event: Any, now: datetime, states: frozenset[str]) -> list[Change]:
    """Decide `event` for those of `rows` whose state is among `states`."""
    changes = []
    for row in rows:
        before = delivery_of(row)
        if before.state in states:
            decision = decide(before, event, now)
            changes.append(Change(row["id"], row["workspace_id"], row["post_id"], row["account_id"], before, decision))
    return changes


def refuse_in_work(rows: Sequence[asyncpg.Record]) -> None:
    """Refuse with 409 `publish_in_progress` while a worker has one of them, or its outcome is unknown."""
    if any(row["state"] in BUSY for row in rows):
        raise Conflict(code="publish_in_progress", headers={"Retry-After": "5"})


async def schedule_post(
    db: asyncpg.Connection, actor: Actor, networks: Networks, workspace_id: UUID, post_id: UUID, wish: Any,
    expected: int | None, now: datetime,
) -> Found:  # fmt: skip
    """Give a post its time, the first or another. What is published already stays so. Raises Conflict, InvalidInput, FourEyes.

    As all that changes a post, it returns what was there before.
    """
    zone = await queries.workspace_zone(db, actor, workspace_id)
    due = read_schedule(wish, zone, now)
    post, rows = await locked(db, actor, workspace_id, post_id, expected)
    if post["state"] == "archived":
        raise Conflict("An archived post takes no time.")
    refuse_in_work(rows)
    coming = [row for row in rows if row["state"] in SCHEDULABLE]
    if not coming:
        raise Conflict("Nothing of this post is left to publish.")
    refuse_alone(post, actor, ["/schedule"])
    await check_stored(db, actor, networks, workspace_id, post, [row["account_id"] for row in coming], due.at)
    await write(db, actor.agency_id, changes_of(coming, Scheduled(due.at), now, SCHEDULABLE), now)
    await set_time(db, actor, post_id, due, now)
    return post, rows


async def set_time(db: asyncpg.Connection, actor: Actor, post_id: UUID, due: Due, now: datetime) -> None:
    """Keep the instant and the local time that people meant."""
    await db.execute(SET_TIME, actor.agency_id, post_id, due.at, due.local, due.time_zone, now)


async def check_stored(
    db: asyncpg.Connection, actor: Actor, networks: Networks, workspace_id: UUID, post: asyncpg.Record,
    account_ids: Sequence[UUID], due_at: datetime,
) -> None:  # fmt: skip
    """Check a stored post against its accounts' rules, and against others that say the same if it wants that."""
    accounts = await queries.accounts_of(db, actor, workspace_id, account_ids)
    drafts = await stored_contents(db, actor, post, account_ids)
    await check(db, actor, networks, accounts, drafts)
    if post["duplicate_policy"] == "reject":
        await refuse_twins(db, actor, workspace_id, texts_of(drafts), due_at, post["id"])


async def stored_contents(db: asyncpg.Connection, actor: Actor, post: asyncpg.Record, account_ids: Sequence[UUID]) -> list[Content]:
    """What each account gets of a stored post."""
    own = {row["account_id"]: row for row in await queries.variants_of(db, actor.agency_id, [post["id"]])}
    rows = [
        (id, id, own[id]["text"], own[id]["media"], own[id]["options"]) if id in own else (id, id, None, None, "{}")
        for id in account_ids
    ]
    return contents(post["text"], orjson.loads(post["media"]), rows)


async def cancel_post(
    db: asyncpg.Connection, actor: Actor, workspace_id: UUID, post_id: UUID, expected: int | None, now: datetime
) -> Found:
    """Take back every delivery that has not begun. Raises Conflict when one is under way or nothing is left."""
    post, rows = await locked(db, actor, workspace_id, post_id, expected)
    refuse_in_work(rows)
    changes = changes_of(rows, Cancelled(), now, CANCELLABLE)
    if not changes:
        raise Conflict("Nothing of this post is left to cancel.")
    await write(db, actor.agency_id, changes, now)
    state = "draft" if post["state"] == "scheduled" and not any(row["state"] == "published" for row in rows) else post["state"]
    await db.execute(ARCHIVE, actor.agency_id, post_id, state, now)
    return post, rows


async def archive_post(
    db: asyncpg.Connection, actor: Actor, workspace_id: UUID, post_id: UUID, expected: int | None, now: datetime
) -> Found:
    """Put a post away; deliveries that have not begun are cancelled. Raises Conflict while one is under way."""
    post, rows = await locked(db, actor, workspace_id, post_id, expected)
    refuse_in_work(rows)
    if post["state"] == "archived":
        return post, rows
    await write(db, actor.agency_id, changes_of(rows, Cancelled(), now, CANCELLABLE), now)
    await db.execute(ARCHIVE, actor.agency_id, post_id, "archived", now)
    await emit(db, actor.agency_id, [(workspace_id, "post.archived", post_id, {})])
    return post, rows


async def delete_post(
    db: asyncpg.Connection, actor: Actor, workspace_id: UUID, post_id: UUID, expected: int | None, now: datetime
) -> Found:
    """Delete a post that never reached a network. Raises Conflict for one that did: archive it instead."""
    post, rows = await locked(db, actor, workspace_id, post_id, expected)
    refuse_in_work(rows)
    if any(row["attempts"] > 0 or row["published_at"] is not None for row in rows):
        raise Conflict("It reached a network, so its history stays: archive it instead.")
    await duties.drop(db, KIND, [row["id"] for row in rows])
    await db.execute(DELETE, actor.agency_id, post_id)
    await emit(db, actor.agency_id, [(workspace_id, "post.deleted", post_id, {})])
    return post, rows
