"""What a network can do, as data on the wire; also narrowed to one account."""

from typing import Literal

from pydantic import Field

from core.wire import Output
from networks.base import Capabilities


class TextRuleRead(Output):
    """How long a text may be."""

    max_length: int
    unit: str = Field(description="What is counted.", examples=["graphemes"])
    max_bytes: int | None
    required: bool
    links: str = Field(description="`live`: links can be clicked; `plain`: they cannot; `costly`: they cost reach.")


class MediaRuleRead(Output):
    """Which files may stand in one post."""

    kinds: list[str]
    max_count: int
    content_types: list[str]
    max_bytes: int
    max_alt_length: int


class FieldRead(Output):
    """One field of the form that a person fills in to connect."""

    name: str
    label: str
    secret: bool = Field(description="Show it as a password field, and keep it nowhere.")
    required: bool


class NetworkRead(Output):
    """A social network, as a set of facts. The sets are open: expect new values."""

    name: str = Field(examples=["bluesky"])
    title: str = Field(examples=["Bluesky"])
    connect: list[str] = Field(description="`credentials`: a person types them; `redirect`: a person agrees there.")
    credentials: list[FieldRead] = Field(description="The fields of `credentials`.")
    text: TextRuleRead
    media: MediaRuleRead
    dedupe: str = Field(description="How a double post is ruled out when an answer was lost.")
    delete: bool = Field(description="Published posts can be taken away.")
    edit: str = Field(description="What of a published post can be changed.", examples=["none"])
    test_mode: bool = Field(description="Reached by test keys only; every other network by live keys only.")
    promise: str = Field(description="What is promised about double posts.")


class AccountCapabilities(Output):
    """What can be done with one account: its network's facts, and what the authorisation grants."""

    text: TextRuleRead
    media: MediaRuleRead
    dedupe: str
    delete: bool
    edit: str
    granted: list[str] = Field(description="What the authorisation grants, in the network's own words.")


class NetworkList(Output):
    """Every network, by name."""

    data: list[NetworkRead]
    next_cursor: Literal[None] = None


def _rules(facts: Capabilities) -> tuple[TextRuleRead, MediaRuleRead]:
    media = MediaRuleRead(
        kinds=sorted(facts.media.kinds),
        max_count=facts.media.max_count,
        content_types=sorted(facts.media.content_types),
        max_bytes=facts.media.max_bytes,
        max_alt_length=facts.media.max_alt_length,
    )
    return TextRuleRead.model_validate(facts.text), media


def read_network(facts: Capabilities) -> NetworkRead:
    """Write a network's facts for the wire."""
    text, media = _rules(facts)
    return NetworkRead(
        name=facts.name,
        title=facts.title,
        connect=sorted(facts.connect),
        credentials=[FieldRead.model_validate(field) for field in facts.credentials],
        text=text,
        media=media,
        dedupe=facts.dedupe,
        delete=facts.delete,
        edit=facts.edit,
        test_mode=facts.test_mode,
        promise=facts.promise,
    )


def read_account_capabilities(facts: Capabilities, granted: list[str]) -> AccountCapabilities:
    """Write what one account can do."""
    text, media = _rules(facts)
    return AccountCapabilities(text=text, media=media, dedupe=facts.dedupe, delete=facts.delete, edit=facts.edit, granted=granted)
