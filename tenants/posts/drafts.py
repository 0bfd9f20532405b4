"""Drafts: what each account will get, put together from a post and its variants, and checked by the networks' rules."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.duties import Statements
from core.errors import Fault, InvalidInput
from core.wire import is_blank
from networks.base import Draft, Media, Network
from tenants.media.versions import load
from tenants.permissions import Actor

REFUSING = frozenset({"disconnected"})


class MediaMissing(Exception):
    """A file that the post is pinned to is not there any more."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one variant, resolved: null fields of the variant fell back to the post's."""

    account_id: UUID
    text: str
    media: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]


def content_digest(text: str, media: Sequence[Mapping[str, Any]], options: Mapping[str, Any], account_id: UUID) -> str:
    """SHA-256 over the canonical JSON of what one account gets: approvals and attempts are pinned to it."""
    body = {"account": str(account_id), "media": [dict(item) for item in media], "options": dict(options), "text": text}
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def media_facts(db: Statements, agency_id: UUID, contents: Iterable[Content]) -> dict[UUID, Any]:
    """Facts (type, size, pixels) of every file version in `contents`."""
    ids = {UUID(item["asset_version_id"]) for content in contents for item in content.media}
    return await load(db, agency_id, list(ids)) if ids else {}


def draft_of(content: Content, facts: Mapping[UUID, Any]) -> Draft:
    """Make the network's draft."""
    media = []
    for item in content.media:
        fact = facts.get(UUID(item["asset_version_id"]))
        if fact is None:
            raise MediaMissing
        media.append(
            Media(
                asset_version_id=item["asset_version_id"],
                content_type=fact["content_type"],
                size_bytes=fact["size_bytes"],
                width=fact["width"],
                height=fact["height"],
                alt_text=item.get("alt_text", ""),
            )
        )
    return Draft(content.text, tuple(media), content.options)


async def check(
    db: Statements,
    actor: Actor,
    networks: Mapping[str, Network],
    accounts: Mapping[UUID, asyncpg.Record],
    contents: Sequence[Content],
) -> None:
    """Refuse with 422 `post_invalid` what does not fit an account, with pointer, limit and figure for each finding."""
    facts = await media_facts(db, actor.agency_id, contents)
    faults = []
    for position, content in enumerate(contents):
        account = accounts[content.account_id]
        if account["state"] in REFUSING:
            faults.append(Fault(f"/account_ids/{position}", "account_not_usable", "The account is disconnected."))
            continue
        if not content.media and is_blank(content.text):
            faults.append(Fault("/text", "nothing_to_publish", "The post has neither text nor media."))
            continue
        faults += [
            Fault(finding.pointer, finding.code, f"{account['network']}: {finding.detail}")
            for finding in networks[account["network"]].check(draft_of(content, facts))
            if finding.severity == "error"
        ]
    if faults:
        raise InvalidInput("The post does not fit every account.", code="post_invalid", faults=faults)
