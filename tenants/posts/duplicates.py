"""The guard against posting the same twice: the same or nearly the same text at one account within a day, or at several
accounts of the workspace in the same minute by different posts.

Similarity is that of sets of character trigrams (Dice), as pg_trgm has it and without needing that extension: it is linear
in the length of the texts, where an edit distance is not, so a text of 63,206 characters costs milliseconds.
"""

import asyncio
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from core.duties import Statements
from core.errors import Conflict
from core.ids import encode
from tenants.permissions import Actor, owned_sql
from tenants.posts.findings import Found
from tenants.posts.rows import instant

WINDOW = timedelta(hours=24)
SIMILARITY_MIN = 0.85
"""From here on two texts are nearly the same: a changed price or date in a sentence of sixty characters stays above it."""
CANDIDATES_MAX = 200
"""Publications that one content is compared with at most, the nearest in time first: eight an hour over a day."""
LENGTH_COMPARED_MAX = 2_000
"""Characters of a text that are compared: what follows makes no other post of it."""
LENGTH_AT_ONCE_MAX = 10_000
"""Characters of candidates that are compared on the event loop, in a few milliseconds; more go to a thread."""
TOLD_MAX = 3
"""Others that are named for one account, the nearest in time first; the proposed time heeds all of them."""
STAGGER = timedelta(minutes=15)
STAGGER_TRIES = 96
"""Quarters of an hour in a day."""
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
"""Characters without a width, variation selectors among them: they make no other text."""
SPACE = re.compile(r"\s+")
URL = re.compile(r"(?i)\bhttps?://[^\s<>\"]+")
TRACKING = re.compile(
    r"(?i)^(utm_.*|fbclid|gclid|dclid|yclid|ymclid|msclkid|igshid|igsh|mc_cid|mc_eid|ttclid|twclid|_openstat|si)$"
)
"""Query parameters that say where a click came from, and not where it leads."""

# A post's own publications are no duplicates of it; what will not or did not go out is none of anybody.
CANDIDATES = """
select d.post_id, d.account_id, d.due_at, coalesce(v.text, p.text) content from publications d
join posts p on p.agency_id = d.agency_id and p.id = d.post_id
join variants v on v.agency_id = d.agency_id and v.id = d.variant_id
where {owned} and d.state not in ('planned', 'cancelled', 'removed', 'failed', 'missed') and d.due_at is not null
  and d.post_id is distinct from $3 and d.due_at between $4::timestamptz - $5::interval and $4::timestamptz + $5::interval
  and (d.account_id = any($6::uuid[]) or date_trunc('minute', d.due_at) = date_trunc('minute', $4::timestamptz))
order by abs(extract(epoch from d.due_at - $4::timestamptz)), d.id limit $7
"""
LOCK = "select pg_advisory_xact_lock(hashtextextended($1, 11))"


@dataclass(frozen=True, slots=True)
class Twin:
    """A publication that says nearly the same."""

    content_account_id: UUID
    post_id: UUID
    account_id: UUID
    due_at: datetime
    similarity: float
    stagger_at: datetime


def _plain_url(match: re.Match[str]) -> str:
    try:
        parts = urlsplit(match[0])
        query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if not TRACKING.match(name)]
    except ValueError:
        return match[0]
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), urlencode(query), ""))


def normalise(text: str) -> str:
    """Bring a text to the form that is compared: NFKC, case folded, nothing invisible, single spaces, links without tracking."""
    text = unicodedata.normalize("NFKC", URL.sub(_plain_url, text)).casefold()
    return SPACE.sub(" ", INVISIBLE.sub("", text)).strip()


def trigrams(text: str) -> frozenset[str]:
    """The trigrams of a normalised text, padded so that one of a single character has some too."""
    padded = f"  {text[:LENGTH_COMPARED_MAX]} "
    return frozenset(padded[position : position + 3] for position in range(len(padded) - 2))


def similarity(first: str, second: str) -> float:
    """How much two normalised texts share: 1 for the same, 0 for nothing. Two empty ones say nothing, so they share nothing.

    Texts that lead to other pages (the goods of a shop, in one form of words) are other posts, however alike they are.
    """
    if not first or not second:
        return 0.0
    if first == second:
        return 1.0
    links, others = set(URL.findall(first)), set(URL.findall(second))
    if links and others and links.isdisjoint(others):
        return 0.0
    one, other = trigrams(first), trigrams(second)
    shared = 2 * len(one & other) / (len(one) + len(other))
    return min(shared, 0.999)


def _minute(value: datetime) -> datetime:
    return value.replace(second=0, microsecond=0)


def stagger(due_at: datetime, twins: Sequence[tuple[UUID, datetime]], account_id: UUID) -> datetime:
    """Propose a time: a day after the last of this account, else the next quarter of an hour in which none of them fires."""
    own = [at for id, at in twins if id == account_id]
    if own:
        return max(own) + WINDOW + timedelta(minutes=1)
    taken = {_minute(at) for _, at in twins}
    return next(
        (at for at in (due_at + STAGGER * step for step in range(1, STAGGER_TRIES + 1)) if _minute(at) not in taken),
        due_at + WINDOW,
    )


def twins_among(texts: Mapping[UUID, str], due_at: datetime, candidates: Iterable[Mapping[str, Any]]) -> list[Twin]:
    """Find the candidates that say nearly the same as what an account will get. `texts` are normalised."""
    hits: dict[UUID, list[tuple[Mapping[str, Any], float]]] = {account_id: [] for account_id in texts}
    form_of, alike_of = lru_cache(maxsize=None)(normalise), lru_cache(maxsize=None)(similarity)  # for this comparison alone
    for row in candidates:
        form = form_of(row["content"])
        for account_id, text in texts.items():
            same_account = row["account_id"] == account_id and abs(row["due_at"] - due_at) < WINDOW
            if not same_account and _minute(row["due_at"]) != _minute(due_at):
                continue
            alike = alike_of(text, form)
            if alike >= SIMILARITY_MIN:
                hits[account_id].append((row, alike))
    found = []
    for account_id, rows in hits.items():
        at = stagger(due_at, [(row["account_id"], row["due_at"]) for row, _ in rows], account_id)
        found += [
            Twin(account_id, row["post_id"], row["account_id"], row["due_at"], round(alike, 3), at)
            for row, alike in rows[:TOLD_MAX]
        ]
    return found


async def find_twins(
    db: Statements, actor: Actor, workspace_id: UUID, texts: Mapping[UUID, str], due_at: datetime, post_id: UUID | None
) -> list[Twin]:
    """Look for what says nearly the same as `texts` (by account) around `due_at`. `post_id` is the post itself, if it exists."""
    wanted = {account_id: form for account_id, text in texts.items() if (form := normalise(text))}
    if not wanted:
        return []
    query = CANDIDATES.format(owned=owned_sql("d"))
    arguments = (post_id, due_at, WINDOW, list(wanted), CANDIDATES_MAX)
    candidates = await db.fetch(query, actor.agency_id, workspace_id, *arguments)
    if sum(len(row["content"]) for row in candidates) < LENGTH_AT_ONCE_MAX:
        return twins_among(wanted, due_at, candidates)
    return await asyncio.to_thread(twins_among, wanted, due_at, candidates)


async def refuse_twins(
    db: Statements, actor: Actor, workspace_id: UUID, texts: Mapping[UUID, str], due_at: datetime, post_id: UUID | None
) -> None:
    """Refuse with 409 `duplicate_content`, naming the others. Two that come at once wait for each other here."""
    await db.execute(LOCK, str(workspace_id))
    twins = await find_twins(db, actor, workspace_id, texts, due_at, post_id)
    if twins:
        raise Conflict(code="duplicate_content", duplicates=[_member(twin) for twin in twins])


def _member(twin: Twin) -> dict[str, Any]:
    return {
        "post_id": encode("pst", twin.post_id),
        "account_id": encode("acc", twin.account_id),
        "similarity": twin.similarity,
        "due_at": instant(twin.due_at),
        "stagger_at": instant(twin.stagger_at),
    }


def found_of(twin: Twin, network: str, severity: str, pointer: str) -> Found:
    """Say it as a finding about the account whose content it is."""
    where = "at this account" if twin.account_id == twin.content_account_id else "at another account in the same minute"
    return Found(
        code="duplicate_content",
        severity="error" if severity == "error" else "warning",
        pointer=pointer,
        detail=f"The post {encode('pst', twin.post_id)} says nearly the same {where}, at {instant(twin.due_at)}.",
        network=network,
        account_id=twin.content_account_id,
        post_id=twin.post_id,
        similarity=twin.similarity,
        stagger_at=twin.stagger_at,
    )
