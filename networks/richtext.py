"""Posts of the AT Protocol as data: limits, facets by UTF-8 byte offsets, record keys, the record. Pure.

Nothing in a post is live by itself: links, mentions and hashtags exist only as facets, and the server does not check
their ranges (app.bsky.richtext.facet and @atproto/pds 0.5.35, read 2026-11). So they are made here, and only here.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from core.patterns import GRAPHEME, pattern
from networks.base import Draft, Finding, Media

COLLECTION = "app.bsky.feed.post"
IMAGE_STEP = "image_"
MENTION_STEP = "mentions"
GRAPHEMES_MAX = 300
BYTES_MAX = 3_000
"""app.bsky.feed.post, `text`; both are enforced."""
LANGUAGES_MAX = 3
"""app.bsky.feed.post, `langs`."""
IMAGES_MAX = 4
IMAGE_BYTES_MAX = 2_000_000
"""app.bsky.embed.images; older servers may still take 1,000,000 only."""
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
ALT_LENGTH_MAX = 2_000
"""Of the official app; the lexicon sets none."""
TAG_GRAPHEMES_MAX = 64
TAG_BYTES_MAX = 640
"""Both from app.bsky.richtext.facet#tag, read 2026-11."""
HANDLE_LENGTH_MAX = 253
"""A handle is a host name (atproto.com/specs/handle, read 2026-11)."""
TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
TID_LENGTH = 13
CLOCK_BITS = 10
"""53 bits of microseconds, then 10 of a clock id, in base32 that sorts like the number (atproto.com/specs/tid, read
2026-11)."""
MICROSECONDS = 1_000_000

LANGUAGE = r"[a-zA-Z]{2,8}(?:-[a-zA-Z0-9]{1,8}){0,4}"
LINK = r"(?i)(?<![\p{L}\p{N}])https?://[^\s<>\"/?#.][^\s<>\"]*"
MENTION = r"(?i)(?<![^\s(])@((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?![a-z0-9-])"
TAG = r"(?<!\S)[#＃](?!\uFE0F)(\S+)"
CLOSING = r"\p{P}+\Z"
AFTER_LINK = ".,;:!?'\"»”’…"
BRACKETS = {")": "(", "]": "["}


def graphemes(text: str) -> int:
    """Count what a person sees as characters: extended grapheme clusters."""
    return sum(1 for _ in pattern(GRAPHEME).finditer(text)) if not text.isascii() or "\r" in text else len(text)


def mentioned_handles(text: str) -> list[str]:
    """List the handles that a text mentions, in lower case, each once, in order."""
    return list(dict.fromkeys(match[1].lower() for match in pattern(MENTION).finditer(text) if len(match[1]) <= HANDLE_LENGTH_MAX))


def facets(text: str, dids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Find links, mentions and hashtags, in order and without overlap; ranges in UTF-8 bytes, the end exclusive.

    `dids` gives the DID of a handle in lower case; a mention that is not in it stays plain text.
    """
    found = sorted((*_links(text), *_mentions(text, dids), *_tags(text)), key=lambda one: (one[0], -one[1]))
    made: list[dict[str, Any]] = []
    byte_position = position = 0
    for start, end, feature in found:
        if start < position:
            continue
        byte_start = byte_position + len(text[position:start].encode())
        byte_position = byte_start + len(text[start:end].encode())
        position = end
        made.append({"index": {"byteStart": byte_start, "byteEnd": byte_position}, "features": [feature]})
    return made


Span = tuple[int, int, dict[str, str]]


def _links(text: str) -> Iterator[Span]:
    for match in pattern(LINK).finditer(text):
        uri = match[0]
        while uri[-1] in AFTER_LINK or (uri[-1] in BRACKETS and uri.count(uri[-1]) > uri.count(BRACKETS[uri[-1]])):
            uri = uri[:-1]
        if not uri.endswith("://"):
            yield match.start(), match.start() + len(uri), {"$type": "app.bsky.richtext.facet#link", "uri": uri}


def _mentions(text: str, dids: Mapping[str, str]) -> Iterator[Span]:
    for match in pattern(MENTION).finditer(text):
        did = dids.get(match[1].lower())
        if did is not None:
            yield match.start(), match.end(), {"$type": "app.bsky.richtext.facet#mention", "did": did}


def _tags(text: str) -> Iterator[Span]:
    for match in pattern(TAG).finditer(text):
        tag = pattern(CLOSING).sub("", match[1])
        if tag and not tag.isdigit() and len(tag.encode()) <= TAG_BYTES_MAX and graphemes(tag) <= TAG_GRAPHEMES_MAX:
            yield match.start(), match.start(1) + len(tag), {"$type": "app.bsky.richtext.facet#tag", "tag": tag}


def tid(instant: datetime, key: str) -> str:
    """Mint a record key (TID) that depends on nothing but the second of `instant` and `key`.

    Keys of later seconds sort later. Below the second stands a hash of `key`: attempts that begin in one transaction
    share their instant, and 30 bits keep them apart where the 10 of the clock id would not.
    """
    digest = int.from_bytes(sha256(key.encode()).digest()[:8])
    microseconds = int(instant.timestamp()) * MICROSECONDS + digest % MICROSECONDS
    number = (microseconds << CLOCK_BITS) | ((digest // MICROSECONDS) & ((1 << CLOCK_BITS) - 1))
    return "".join(TID_ALPHABET[(number >> (5 * place)) & 31] for place in range(TID_LENGTH - 1, -1, -1))


def timestamp(instant: datetime) -> str:
    """Write an instant as `createdAt` asks: RFC 3339, milliseconds, Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- limits and record ---------------------------------------------------------------------------------------------


def text_findings(draft: Draft) -> Iterator[Finding]:
    """Hold text and languages against the limits: graphemes and UTF-8 bytes both count."""
    if not draft.text.strip() and not draft.media:
        yield Finding("empty", "error", "/text", "A post needs text or an image.")
    length = graphemes(draft.text)
    if length > GRAPHEMES_MAX:
        yield Finding("text_too_long", "error", "/text", "The text is too long for Bluesky.", GRAPHEMES_MAX, length)
    size = len(draft.text.encode(errors="surrogatepass"))
    if size > BYTES_MAX:
        yield Finding("text_too_many_bytes", "error", "/text", "The text has too many bytes.", BYTES_MAX, size)
    languages = draft.options.get("langs")
    if languages is None:
        return
    if not isinstance(languages, list) or not all(isinstance(one, str) and pattern(LANGUAGE).fullmatch(one) for one in languages):
        yield Finding("option_invalid", "error", "/options/langs", "Languages are a list of codes like de or en-GB.")
    elif len(languages) > LANGUAGES_MAX:
        yield Finding("option_invalid", "error", "/options/langs", "Too many languages.", LANGUAGES_MAX, len(languages))


def media_findings(draft: Draft) -> Iterator[Finding]:
    """Hold the files against the limits: number, type, bytes, alternative text."""
    count = len(draft.media)
    if count > IMAGES_MAX:
        yield Finding("too_many_media", "error", "/media", "There are too many images.", IMAGES_MAX, count)
    for number, one in enumerate(draft.media):
        pointer = f"/media/{number}"
        if one.content_type not in IMAGE_TYPES:
            yield Finding("media_type", "error", pointer, "Bluesky takes JPEG, PNG, WebP and GIF here.")
        if one.size_bytes > IMAGE_BYTES_MAX:
            yield Finding("media_too_large", "error", pointer, "The image has too many bytes.", IMAGE_BYTES_MAX, one.size_bytes)
        if len(one.alt_text) > ALT_LENGTH_MAX:
            length = len(one.alt_text)
            yield Finding("alt_text_too_long", "error", pointer, "The image's text is too long.", ALT_LENGTH_MAX, length)
        if not one.alt_text.strip():
            detail = "The image has no text for those who cannot see it."
            yield Finding("alt_text_missing", "warning", pointer, detail)


def record(draft: Draft, handles: Mapping[str, Any], created_at: datetime) -> dict[str, Any]:
    """Write the record of a post (app.bsky.feed.post) from a draft and what its prepare steps brought."""
    made: dict[str, Any] = {"$type": COLLECTION, "text": draft.text, "createdAt": timestamp(created_at)}
    found = facets(draft.text, handles.get(MENTION_STEP, {}))
    if found:
        made["facets"] = found
    if draft.options.get("langs"):
        made["langs"] = list(draft.options["langs"])
    if draft.media:
        images = [_image(one, handles[f"{IMAGE_STEP}{number}"]) for number, one in enumerate(draft.media)]
        made["embed"] = {"$type": "app.bsky.embed.images", "images": images}
    return made


def _image(media: Media, blob: Any) -> dict[str, Any]:
    image = {"alt": media.alt_text, "image": blob}
    if media.width > 0 and media.height > 0:
        image["aspectRatio"] = {"width": media.width, "height": media.height}
    return image
