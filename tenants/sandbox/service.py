"""What the sandbox network's server does with its tables. It plays a foreign server and knows no agency.

A refusal that must leave a trace (a counted call, a revoked pair) is returned, not raised: raising would roll the
transaction back, and the trace with it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import hash_key
from core.ids import new_id
from tenants.sandbox import behaviours
from tenants.sandbox.models import SandboxPost, SandboxProfile

ACCESS_PREFIX, REFRESH_PREFIX = "sbxa_", "sbxr_"
TOKEN_BYTES = 32
WELCOME_MARKER = "welcome"
WELCOME_TEXT = "Welcome to the sandbox network. This post stays at the top."


class SandboxError(Exception):
    """What the sandbox answers instead of doing what was asked. `error` is the wire's code."""

    def __init__(self, error: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Tokens:
    """A fresh pair, shown this once, and the profile it belongs to."""

    profile: SandboxProfile
    access_token: str
    refresh_token: str


@dataclass(frozen=True, slots=True)
class NewPost:
    """What a client wants to publish; `media` are pairs of an upload's id and its alternative text."""

    target: str
    marker: str
    text: str
    media: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a publish call ends: with a refusal, a cut connection, or well. `post` is None when nothing was stored."""

    post: SandboxPost | None = None
    refusal: SandboxError | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Newest posts first; `has_more` says that older ones follow. The pinned post comes with every page."""

    pinned: SandboxPost | None
    posts: list[SandboxPost]
    has_more: bool


async def open_profile(session: AsyncSession, handle: str, now: datetime) -> Tokens:
    """Open a handle: a new grant with a pinned welcome post on each target. Raises SandboxError for unknown handles."""
    behaviour = behaviours.behaviour_of(handle)
    if behaviour is None:
        known = ", ".join(behaviours.BEHAVIOURS)
        raise SandboxError("unknown_handle", f"There is no such handle. Take one of these (a -suffix may follow): {known}")
    return await _open(session, handle, behaviour, behaviours.targets_of_handle(handle, behaviour), now)


async def open_subject(session: AsyncSession, subject: str, now: datetime) -> Tokens:
    """Open the pages of an OAuth subject, which the client has authenticated elsewhere."""
    targets = behaviours.targets_of_subject(subject)
    return await _open(session, subject, behaviours.SUBJECT_BEHAVIOUR, targets, now)


async def _open(session: AsyncSession, handle: str, behaviour: str, targets: list[str], now: datetime) -> Tokens:
    access, refresh = _new_token(ACCESS_PREFIX), _new_token(REFRESH_PREFIX)
    welcomes = {target: uuid4() for target in targets}
    profile = SandboxProfile(
        id=new_id(),
        handle=handle,
        behaviour=behaviour,
        targets=[
            {"external_id": target, "name": f"Sandbox {target}", "welcome_id": welcome.hex} for target, welcome in welcomes.items()
        ],
        access_hash=hash_key(access),
        refresh_hash=hash_key(refresh),
        access_expires_at=now + behaviours.ACCESS_LIFE,
        created_at=now,
    )
    session.add(profile)
    await session.flush()
    for target, welcome in welcomes.items():
        post = SandboxPost(
            id=welcome,
            profile_id=profile.id,
            target=target,
            marker=WELCOME_MARKER,
            text=WELCOME_TEXT,
            pinned=True,
            visible_at=now,
            created_at=now,
        )
        session.add(post)
    await session.flush()
    return Tokens(profile, access, refresh)


def _new_token(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def may_read(profile: SandboxProfile) -> bool:
    """Say whether the grant includes the right to read back."""
    return profile.behaviour != "blind"


async def authenticate(session: AsyncSession, access_hash: bytes, now: datetime) -> SandboxProfile:
    """Find the profile that an access token acts for. Raises SandboxError for dead and unknown ones."""
    query = select(SandboxProfile).where(SandboxProfile.access_hash == access_hash)
    profile = (await session.exec(query)).one_or_none()
    if profile is None:
        raise SandboxError("invalid_token", "The access token is not known.")
    if profile.revoked_at is not None:
        raise SandboxError("token_revoked", "The authorisation was revoked.")
    if profile.access_expires_at <= now:
        raise SandboxError("token_expired", "The access token has expired.")
    return profile


async def refresh(session: AsyncSession, refresh_hash: bytes, now: datetime) -> Tokens | SandboxError:
    """Exchange a refresh token for a new pair. The old one is spent, and showing it again revokes the new pair."""
    dead = SandboxError("invalid_grant", "The refresh token is not valid.")
    found = await session.exec(select(SandboxProfile).where(SandboxProfile.refresh_hash == refresh_hash).with_for_update())
    profile = found.one_or_none()
    if profile is None:
        await _revoke_reused(session, refresh_hash, now)
        return dead
    if profile.revoked_at is not None or profile.behaviour == "token_revoked":
        return dead
    access, fresh = _new_token(ACCESS_PREFIX), _new_token(REFRESH_PREFIX)
    profile.spent_refresh_hash = profile.refresh_hash
    profile.access_hash, profile.refresh_hash = hash_key(access), hash_key(fresh)
    profile.access_expires_at = now + behaviours.ACCESS_LIFE
    profile.refreshes += 1
    session.add(profile)
    await session.flush()
    return Tokens(profile, access, fresh)


async def _revoke_reused(session: AsyncSession, refresh_hash: bytes, now: datetime) -> None:
    found = await session.exec(select(SandboxProfile).where(SandboxProfile.spent_refresh_hash == refresh_hash).with_for_update())
    for profile in found.all():
        profile.revoked_at = profile.revoked_at or now
        session.add(profile)
    await session.flush()


async def add_media(session: AsyncSession, profile: SandboxProfile, content_type: str, data: bytes) -> dict[str, Any]:
    """Note an upload: its type, size and digest. The bytes are not kept. Raises SandboxError."""
    if content_type not in behaviours.MEDIA_TYPES:
        raise SandboxError("unsupported_media", "Images are JPEG, PNG, WebP or GIF.")
    if not data:
        raise SandboxError("invalid_request", "The upload is empty.")
    if len(data) > behaviours.MEDIA_BYTES_MAX:
        raise SandboxError("too_large", f"An image has at most {behaviours.MEDIA_BYTES_MAX} bytes.")
    note = {
        "id": uuid4().hex,
        "content_type": content_type,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    await _lock(session, profile)
    profile.media = [*profile.media, note][-behaviours.MEDIA_KEPT_MAX :]
    session.add(profile)
    await session.flush()
    return note


async def _lock(session: AsyncSession, profile: SandboxProfile) -> None:
    await session.refresh(profile, with_for_update=True)


async def publish(session: AsyncSession, profile: SandboxProfile, wish: NewPost, now: datetime) -> Outcome:
    """Do what the profile's behaviour says with a new post. Raises SandboxError for what no behaviour would take."""
    _check(profile, wish)
    early = await _before(session, profile, wish)
    if early is not None:
        return early
    uploads = {note["id"]: note for note in profile.media}
    late = behaviours.LATE_VISIBLE if profile.behaviour == "late_visible" else None
    post = SandboxPost(
        id=uuid4(),
        profile_id=profile.id,
        target=wish.target,
        marker=wish.marker,
        text=wish.text,
        media=[uploads[upload_id] | {"alt": alt} for upload_id, alt in wish.media],
        visible_at=now + late if late else now,
        created_at=now,
    )
    session.add(post)
    await session.flush()
    if profile.behaviour == "duplicate_error":
        return Outcome(post, SandboxError("duplicate_content", "This post was published already."))
    return Outcome(post, cut=profile.behaviour in behaviours.CUTS_AFTER_ACCEPTING)


def _check(profile: SandboxProfile, wish: NewPost) -> None:
    if wish.target not in {target["external_id"] for target in profile.targets}:
        raise SandboxError("unknown_profile", "The token does not reach this profile.")
    if not wish.text.strip() and not wish.media:
        raise SandboxError("content_rejected", "A post needs text or an image.")
    if len(wish.text) > behaviours.TEXT_LENGTH_MAX:
        raise SandboxError("content_rejected", f"A text has at most {behaviours.TEXT_LENGTH_MAX} characters.")
    if len(wish.media) > behaviours.MEDIA_COUNT_MAX:
        raise SandboxError("content_rejected", f"A post has at most {behaviours.MEDIA_COUNT_MAX} images.")
    known = {note["id"] for note in profile.media}
    if any(upload_id not in known for upload_id, _alt in wish.media):
        raise SandboxError("content_rejected", "An image of the post is not known.")


async def _before(session: AsyncSession, profile: SandboxProfile, wish: NewPost) -> Outcome | None:
    """Say how the call ends when the behaviour ends it before anything is stored."""
    match profile.behaviour:
        case "token_revoked":
            return Outcome(refusal=SandboxError("token_revoked", "The authorisation was revoked."))
        case "token_expired" if profile.refreshes == 0:
            return Outcome(refusal=SandboxError("token_expired", "The access token has expired."))
        case "rejects_content":
            return Outcome(refusal=SandboxError("content_rejected", "This profile refuses every post."))
        case "down":
            return Outcome(refusal=SandboxError("maintenance", "The sandbox is down. Nothing was done."))
        case "rate_limited":
            await _lock(session, profile)
            profile.calls += 1
            session.add(profile)
            await session.flush()
            if profile.calls <= behaviours.RATE_LIMITED_CALLS:
                wait_s = behaviours.RETRY_AFTER_S
                return Outcome(refusal=SandboxError("rate_limited", "Too many calls.", retry_after_s=wait_s))
        case "ambiguous_absent":
            await _lock(session, profile)
            if wish.marker not in profile.tried_markers:
                profile.tried_markers = [*profile.tried_markers, wish.marker][-behaviours.MARKERS_KEPT_MAX :]
                session.add(profile)
                await session.flush()
                return Outcome(cut=True)
    return None


async def list_posts(
    session: AsyncSession,
    profile: SandboxProfile,
    target: str,
    now: datetime,
    *,
    limit: int = behaviours.PAGE_SIZE_MAX,
    start: tuple[datetime, UUID] | None = None,
) -> Page:
    """List what a profile shows, newest first, from the post at `start` on, itself included. Raises SandboxError."""
    if not may_read(profile):
        raise SandboxError("read_not_allowed", "The grant has no right to read.")
    if target not in {known["external_id"] for known in profile.targets}:
        raise SandboxError("unknown_profile", "The token does not reach this profile.")
    mine = select(SandboxPost).where(
        SandboxPost.profile_id == profile.id, SandboxPost.target == target, col(SandboxPost.visible_at) <= now
    )
    pinned = (await session.exec(mine.where(col(SandboxPost.pinned)))).first()
    query = mine.where(~col(SandboxPost.pinned))
    if start is not None:
        at, post_id = start
        earlier, same = col(SandboxPost.created_at) < at, col(SandboxPost.created_at) == at
        older = earlier | (same & (col(SandboxPost.id) <= post_id))
        query = query.where(older)
    query = query.order_by(col(SandboxPost.created_at).desc(), col(SandboxPost.id).desc()).limit(limit + 1)
    rows = list((await session.exec(query)).all())
    return Page(pinned, rows[:limit], len(rows) > limit)


async def read_post(session: AsyncSession, post_id: UUID, now: datetime) -> SandboxPost:
    """Read one post by its unguessable id. Raises SandboxError when it is not there, or not visible yet."""
    post = await session.get(SandboxPost, post_id)
    if post is None or post.visible_at > now:
        raise SandboxError("not_found", "There is no such post.")
    return post


async def delete_post(session: AsyncSession, profile: SandboxProfile, post_id: UUID) -> None:
    """Take a post away. Any grant of the same target may, so that it works after a reconnect. Raises SandboxError."""
    post = await session.get(SandboxPost, post_id)
    if post is None or post.target not in {target["external_id"] for target in profile.targets}:
        raise SandboxError("not_found", "There is no such post.")
    await session.delete(post)
    await session.flush()
