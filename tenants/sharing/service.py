"""Links: making, listing and ending them for the agency's people, and opening one for whoever holds it.

A link that is opened has the right of its row and of nothing else: the transaction carries the stamp of its agency and its
workspace, and what is shown is an allow-list. It ends with its time, with its last opening, when it is revoked, and when the key or
the member that made it, or the application that did so in the member's name, may make none any more in its workspace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import hash_key
from core.db import Bare, Tenant, raw, restamp
from core.errors import Fault, InvalidInput, Missing, PermissionDenied
from core.ids import new_id
from tenants.agencies.keys import HINT_LENGTH
from tenants.agencies.models import Workspace
from tenants.applications.behind import Maker, maker_of, require_maker
from tenants.closed import require_open
from tenants.media.versions import load as load_versions
from tenants.owned import find, owned
from tenants.permissions import Actor, Permission
from tenants.posts.models import Post
from tenants.sharing.models import ShareLink
from tenants.sharing.schemas import LIFETIME_DEFAULT, LIFETIME_MAX, Shared, SharedDelivery, SharedMedia, ShareLinkCreate
from tenants.sharing.tokens import PresentedLink, write_token

LIVING = """
from share_links l where l.agency_id = $1 and l.hash = $2 and l.revoked_at is null and l.expires_at > now()
  and exists (select from workspaces w where w.agency_id = l.agency_id and w.id = l.workspace_id and w.closed_at is null)
"""
MAKER = f"select l.workspace_id, l.created_by, l.created_by_member, l.grant_id {LIVING}"
OPEN = f"""
update share_links o set opens = opens + 1, last_opened_at = now()
where o.agency_id = $1 and (o.max_opens is null or o.opens < o.max_opens) and o.id in (select l.id {LIVING})
returning o.workspace_id, o.purpose, o.post_id, o.expires_at
"""
"""One statement, so that of two who open a link for the last time one does."""
LOOK = f"select l.workspace_id, l.purpose, l.post_id, l.expires_at {LIVING} and l.opens > 0"
"""What was opened shows its files until it ends, the last opening's too."""
COVER = f"""
select (select w.name from workspaces w where w.agency_id = l.agency_id and w.id = l.workspace_id) workspace {LIVING}
  and (l.max_opens is null or l.opens < l.max_opens)
"""
POST = """
select p.text, p.media::text media, p.due_at, p.time_zone, w.name workspace, w.time_zone workspace_zone from posts p
join workspaces w on w.agency_id = p.agency_id and w.id = p.workspace_id
where p.agency_id = $1 and p.workspace_id = $2 and p.id = $3
"""
DELIVERIES = """
select d.network, d.state, d.due_at, d.published_at, d.external_url, a.name account, a.handle, v.text, v.media::text media
from publications d join accounts a on a.agency_id = d.agency_id and a.id = d.account_id
join variants v on v.agency_id = d.agency_id and v.id = d.variant_id
where d.agency_id = $1 and d.workspace_id = $2 and d.post_id = $3 order by d.id
"""
SHOWN_STATES = {
    "planned": "planned", "scheduled": "scheduled", "retry_wait": "scheduled", "claimed": "in_progress",
    "preparing": "in_progress", "publishing": "in_progress", "outcome_unknown": "in_progress", "published": "published",
    "unpublishing": "published", "removed": "removed", "cancelled": "cancelled",
}  # fmt: skip
"""State of a publication -> what a client is told. What is not here is trouble of the house: `not_published`."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a link shows, and in whose time a person reads it: the post's own, or else the workspace's."""

    shared: Shared
    time_zone: str


async def create_link(
    session: AsyncSession, actor: Actor, workspace_id: UUID, wish: ShareLinkCreate, now: datetime
) -> tuple[ShareLink, str]:
    """Make a link to one thing of the workspace. Returns the row and the token, which is stored nowhere.

    Raises Missing (workspace), Conflict (it is closed), InvalidInput (the post, the time), PermissionDenied (an application that
    calls for itself).
    """
    if actor.key_id is None and actor.member_id is None:
        raise PermissionDenied("A link is made by a person or a key, who answers for it.")
    workspace = await find(session, Workspace, actor, workspace_id)
    require_open(workspace.closed_at)
    expires_at = wish.expires_at or now + LIFETIME_DEFAULT
    if expires_at <= now:
        raise InvalidInput(faults=[Fault("/expires_at", "in_the_past", "The expiry lies in the past.")])
    if expires_at > now + LIFETIME_MAX:
        raise InvalidInput(faults=[Fault("/expires_at", "too_far_ahead", f"At most {LIFETIME_MAX.days} days.")])
    try:
        await find(session, Post, actor, wish.post_id, workspace_id=workspace_id)
    except Missing as error:
        raise InvalidInput(faults=[Fault("/post_id", "not_found", "There is no such post in the workspace.")]) from error
    token, maker = write_token(actor.agency_id), await maker_of(raw(session), actor)
    row = ShareLink(
        agency_id=actor.agency_id,
        id=new_id(),
        workspace_id=workspace_id,
        purpose=wish.purpose.value,
        post_id=wish.post_id,
        hash=hash_key(token),
        hint=token[-HINT_LENGTH:],
        max_opens=wish.max_opens,
        opens=0,
        created_by=maker.created_by,
        created_by_member=maker.created_by_member,
        grant_id=maker.grant_id,
        expires_at=expires_at,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return row, token


async def list_links(
    session: AsyncSession, actor: Actor, workspace_id: UUID, *, after: UUID | None, limit: int
) -> list[ShareLink]:  # fmt: skip
    """The links of a workspace, newest first, ended ones included. Raises Missing."""
    await find(session, Workspace, actor, workspace_id)
    query = owned(ShareLink, actor).where(ShareLink.workspace_id == workspace_id)
    if after is not None:
        query = query.where(col(ShareLink.id) < after)
    return list((await session.exec(query.order_by(col(ShareLink.id).desc()).limit(limit))).all())


async def get_link(session: AsyncSession, actor: Actor, workspace_id: UUID, link_id: UUID, *, lock: bool = False) -> ShareLink:
    """One link. Raises Missing."""
    return await find(session, ShareLink, actor, link_id, workspace_id=workspace_id, lock=lock)


async def revoke_link(session: AsyncSession, row: ShareLink, now: datetime) -> None:
    """End a locked link. It holds from the commit on; ending it twice changes nothing."""
    if row.revoked_at is None:
        row.revoked_at = now
        session.add(row)
        await session.flush()


async def _find(db: Bare, presented: PresentedLink, statement: str) -> asyncpg.Record:
    """Find a living link by `statement`, whose maker could make it now: a role that got smaller takes the links with it.

    Raises Missing for every dead one alike.
    """
    link = await db.fetchrow(MAKER, presented.agency_id, presented.hash)
    if link is None:
        raise Missing
    maker = Maker(link["created_by"], link["created_by_member"], link["grant_id"])
    await require_maker(db, presented.agency_id, maker, Permission.LINK_MANAGE, link["workspace_id"])
    found = await db.fetchrow(statement, presented.agency_id, presented.hash)
    if found is None:
        raise Missing
    return found


async def find_cover(db: Bare, presented: PresentedLink) -> str:
    """Find a link that can be opened, and count nothing. Returns the workspace's name. Raises Missing for every dead one alike."""
    return str((await _find(db, presented, COVER))["workspace"])


async def open_link(db: Bare, presented: PresentedLink) -> Sight:
    """Show what a link is for, and count it. `db` carries the stamp of its agency. Raises Missing for every dead one alike."""
    return await _show(db, presented, await _find(db, presented, OPEN))


async def look_again(db: Bare, presented: PresentedLink) -> Sight:
    """Show it to who has opened it, and count nothing: the caller knows that. Raises Missing for every dead one alike."""
    return await _show(db, presented, await _find(db, presented, LOOK))


async def _show(db: Bare, presented: PresentedLink, link: asyncpg.Record) -> Sight:
    place = (presented.agency_id, link["workspace_id"], link["post_id"])
    await restamp(db, Tenant(presented.agency_id, (link["workspace_id"],)))
    post = await db.fetchrow(POST, *place)
    if post is None:
        raise Missing
    deliveries = await db.fetch(DELIVERIES, *place)
    versions = await load_versions(db, presented.agency_id, [id for row in (post, *deliveries) for id in _pinned(row["media"])])
    media = _media(post["media"], versions)
    shared = Shared(
        purpose=link["purpose"],
        workspace=post["workspace"],
        text=post["text"],
        media=media,
        due_at=post["due_at"],
        time_zone=post["time_zone"],
        deliveries=[
            SharedDelivery(
                network=row["network"],
                account=row["account"],
                handle=row["handle"],
                text=post["text"] if row["text"] is None else row["text"],
                media=media if row["media"] is None else _media(row["media"], versions),
                state=SHOWN_STATES.get(row["state"], "not_published"),
                due_at=row["due_at"],
                published_at=row["published_at"],
                url=row["external_url"],
            )
            for row in deliveries
        ],
        expires_at=link["expires_at"],
    )
    return Sight(shared, post["time_zone"] or post["workspace_zone"])


def _pinned(media: str | None) -> list[UUID]:
    return [UUID(one["asset_version_id"]) for one in orjson.loads(media or "[]")]


def _media(media: str | None, versions: Mapping[UUID, asyncpg.Record]) -> list[SharedMedia]:
    pinned: Sequence[Mapping[str, Any]] = orjson.loads(media or "[]")
    found = [(one, versions.get(UUID(one["asset_version_id"]))) for one in pinned]
    return [
        SharedMedia(
            asset_version_id=row["id"],
            alt_text=one["alt_text"],
            content_type=row["content_type"],
            width=row["width"],
            height=row["height"],
        )
        for one, row in found
        if row is not None
    ]


async def find_media(db: Bare, presented: PresentedLink, version_id: UUID) -> asyncpg.Record:
    """Find a file of what a living link shows, once it was opened. Raises Missing for anything else."""
    link = await _find(db, presented, LOOK)
    place = (presented.agency_id, link["workspace_id"], link["post_id"])
    await restamp(db, Tenant(presented.agency_id, (link["workspace_id"],)))
    rows = [await db.fetchrow(POST, *place), *await db.fetch(DELIVERIES, *place)]
    if version_id not in {id for row in rows if row is not None for id in _pinned(row["media"])}:
        raise Missing
    version = (await load_versions(db, presented.agency_id, [version_id])).get(version_id)
    if version is None:
        raise Missing
    return version
