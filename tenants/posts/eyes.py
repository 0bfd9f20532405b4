"""The rule of four eyes: in a workspace that has it, nothing goes out whose content one pair of eyes alone has seen. Pure.

Whose eyes a caller has stands in `Actor.eyes`. Content that is on its way does not change, so who sends it has seen it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from core.errors import Fault, PermissionDenied
from tenants.permissions import Actor
from tenants.posts.states import COMING

Row: TypeAlias = Mapping[str, Any] | asyncpg.Record
NEW = "Content goes out once somebody else has looked at it: create a draft, and let another person or key schedule it."
OWN = "Whoever changed the content last does not send it on its way: somebody else must."
UNKNOWN = "It is not known who changed the content last: save it again, and let somebody else send it on its way."
COMES = "The content is on its way as somebody else has seen it: cancel the post first."


class FourEyes(PermissionDenied):
    """The workspace asks that content goes out only by somebody else than who wrote it."""

    code = "four_eyes"


def alone(four_eyes: bool | None, content_by: UUID | None, eyes: UUID | None) -> bool:
    """Say whether nobody but the caller is known to have seen the content, where the rule asks for somebody else."""
    return bool(four_eyes) and (content_by is None or eyes is None or content_by == eyes)


def alone_with(row: Row, actor: Actor) -> bool:
    """Say it of a row that has `four_eyes` and `content_by`."""
    return alone(row["four_eyes"], row["content_by"], actor.eyes)


def refuse_new(*, four_eyes: bool, scheduled: bool) -> None:
    """Refuse a post that would be written and sent on its way in one request. Raises FourEyes."""
    if four_eyes and scheduled:
        _refuse(NEW, ["/schedule"])


def refuse_alone(post: Row, actor: Actor, pointers: Collection[str] = ()) -> None:
    """Refuse to send a post on its way whose content nobody but the caller has seen. Raises FourEyes."""
    if alone_with(post, actor):
        _refuse(UNKNOWN if post["content_by"] is None else OWN, pointers)


def refuse_change(post: Row, publications: Sequence[Row], fields: Collection[str]) -> None:
    """Refuse to change content that goes out by itself as it stands. Raises FourEyes with a pointer for each of `fields`."""
    if post["four_eyes"] and any(row["state"] in COMING for row in publications):
        _refuse(COMES, [f"/{field}" for field in sorted(fields)])


def _refuse(detail: str, pointers: Collection[str]) -> None:
    raise FourEyes(detail, faults=[Fault(pointer, FourEyes.code, detail) for pointer in pointers])
