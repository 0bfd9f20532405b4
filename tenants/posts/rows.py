"""From rows to the wire: posts and publications as plain dictionaries, ready for orjson.

A page of fifty posts is the most asked-for answer, so it is built without models; tests hold it against the schemas.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.ids import suffix
from tenants.permissions import Actor, Permission
from tenants.posts.eyes import alone_with
from tenants.posts.rollup import rollup
from tenants.posts.states import BUSY, CANCELLABLE, COMING, EDITABLE, RETRIABLE, SCHEDULABLE

shared = lru_cache(maxsize=8192)(suffix)
"""Ids that repeat over the rows of a page (accounts, workspaces) are encoded once."""


def instant(value: datetime | None) -> str | None:
    """RFC 3339 with milliseconds; the database's driver gives every instant in UTC."""
    return None if value is None else value.isoformat(timespec="milliseconds")[:-6] + "Z"


def _media(text: str | None) -> list[dict[str, Any]] | None:
    if text is None:
        return None
    if text == "[]":
        return []
    return [
        {
            "asset_id": "ast_" + suffix(UUID(item["asset_id"])),
            "asset_version_id": "asv_" + suffix(UUID(item["asset_version_id"])),
            "alt_text": item["alt_text"],
        }
        for item in orjson.loads(text)
    ]


@lru_cache(maxsize=4096)
def publication_actions(state: str, alone: bool, permissions: frozenset[Permission]) -> tuple[str, ...]:
    """What a caller with `permissions` may do with a publication in `state` now. `alone`: as `tenants.posts.eyes` says it."""
    actions = []
    if Permission.POST_SCHEDULE in permissions:
        if state in RETRIABLE and not alone:
            actions.append("retry")
        if state in CANCELLABLE:
            actions.append("cancel")
    if state in {"needs_human", "outcome_unknown"} and Permission.PUBLICATION_RESOLVE in permissions:
        actions.append("resolve")
    if state == "published" and Permission.POST_DELETE in permissions:
        actions.append("delete")
    return tuple(actions)


@lru_cache(maxsize=4096)
def post_actions(
    state: str, states: frozenset[str], tried: bool, four_eyes: bool, alone: bool, permissions: frozenset[Permission]
) -> tuple[str, ...]:  # fmt: skip
    """What a caller with `permissions` may do with a post in `state`, whose publications are in `states`, now.

    `tried`: one of them has reached a network, or may have. `four_eyes`, `alone`: as `tenants.posts.eyes` says it.
    """
    if state == "archived":
        return ()
    actions = []
    if states <= EDITABLE and not (four_eyes and states & COMING) and Permission.POST_UPDATE in permissions:
        actions.append("update")
    if states & BUSY:
        return tuple(actions)
    if Permission.POST_SCHEDULE in permissions:
        if states & SCHEDULABLE and not alone:
            actions.append("schedule")
        if states & (CANCELLABLE - {"planned"}):
            actions.append("cancel")
    if Permission.POST_UPDATE in permissions:
        actions.append("archive")
    if Permission.POST_DELETE in permissions and states <= EDITABLE and not tried:
        actions.append("delete")
    return tuple(actions)


def publication(row: Mapping[str, Any] | asyncpg.Record, actor: Actor, *, alone: bool) -> dict[str, Any]:
    """One publication on the wire. `alone`: its content is the caller's (`tenants.posts.eyes`)."""
    published_at, due_at, error, state = row["published_at"], row["due_at"], row["error"], row["state"]
    return {
        "id": "pub_" + suffix(row["id"]),
        "post_id": "pst_" + shared(row["post_id"]),
        "account_id": "acc_" + shared(row["account_id"]),
        "network": row["network"],
        "state": state,
        "due_at": instant(due_at),
        "next_at": instant(row["next_at"]),
        "attempts": row["attempts"],
        "block_reason": row["block_reason"],
        "external_id": row["external_id"],
        "external_url": row["external_url"],
        "published_at": instant(published_at),
        "lateness_ms": int((published_at - due_at).total_seconds() * 1000) if published_at and due_at else None,
        "resolution": row["resolution"],
        "error": None if error is None else orjson.loads(error),
        "allowed_actions": publication_actions(state, alone, actor.permissions),
    }


def _variant(row: Mapping[str, Any] | asyncpg.Record) -> dict[str, Any]:
    return {
        "id": "var_" + suffix(row["variant_id"]),
        "account_id": "acc_" + shared(row["account_id"]),
        "text": row["variant_text"],
        "media": _media(row["variant_media"]),
        "options": orjson.loads(row["variant_options"]),
    }


def post(
    row: Mapping[str, Any] | asyncpg.Record, publications: Sequence[Mapping[str, Any] | asyncpg.Record], actor: Actor
) -> dict[str, Any]:
    """One post on the wire, with its deliveries (rows of `queries.shown_of`)."""
    alone = alone_with(row, actor)
    deliveries = [publication(each, actor, alone=alone) for each in publications]
    states = [each["state"] for each in deliveries]
    due_at, details = row["due_at"], row["details"]
    return {
        "id": "pst_" + suffix(row["id"]),
        "workspace_id": "wsp_" + shared(row["workspace_id"]),
        "state": row["state"],
        "delivery": rollup(states),
        "version": row["version"],
        "text": row["text"],
        "media": _media(row["media"]),
        "variants": [_variant(each) for each in publications if each["variant_id"] is not None],
        "schedule": None if due_at is None else {"at": instant(due_at), "local": row["local_at"], "time_zone": row["time_zone"]},
        "external_ref": row["external_ref"],
        "duplicate_policy": row["duplicate_policy"],
        "metadata": {} if details == "{}" else orjson.loads(details),
        "publications": deliveries,
        "allowed_actions": post_actions(
            row["state"],
            frozenset(states),
            any(each["attempts"] for each in deliveries),
            row["four_eyes"],
            alone,
            actor.permissions,
        ),
        "created_at": instant(row["created_at"]),
        "updated_at": instant(row["updated_at"]),
    }


def attempt(row: asyncpg.Record) -> dict[str, Any]:
    """One attempt on the wire."""
    return {
        "id": "att_" + suffix(row["id"]),
        "number": row["number"],
        "outcome": row["outcome"],
        "started_at": instant(row["started_at"]),
        "finished_at": instant(row["finished_at"]),
        "evidence": row["evidence"],
        "error": None if row["error"] is None else orjson.loads(row["error"]),
    }
