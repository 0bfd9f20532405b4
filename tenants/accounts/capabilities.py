"""What a network can do, as data on the wire; also narrowed to one account."""

from typing import Literal

from pydantic import Field

from core.wire import AccountId, Instant, Output
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
    posts_per_day: int | None = Field(
        description="Posts that it takes of one account within 24 hours; null: it names no figure.", examples=[17_500]
    )


class AccountCapabilities(Output):
    """What can be done with one account: its network's facts, and what the authorisation grants."""

    text: TextRuleRead
    media: MediaRuleRead
    dedupe: str
    delete: bool
    edit: str
    granted: list[str] = Field(description="What the authorisation grants, in the network's own words.")


class PostQuota(Output):
    """How many posts the network takes of this account, and how many it took. Only those that went through here are known."""

    quota: int | None = Field(description="Posts within `window_s`; null: the network names no figure.", examples=[17_500])
    window_s: int = Field(description="Length of the sliding window, in seconds.", examples=[86_400])
    used: int = Field(
        description="Posts of the window that ends now: published, taken away again, or of unknown outcome.", examples=[3]
    )
    scheduled: int = Field(description="Posts that are due within the next window, or overdue.", examples=[2])
    remaining: int | None = Field(description="What the network takes now: `quota` less `used`.", examples=[17_497])
    free: int | None = Field(
        description="What is left of `remaining` when everything that is scheduled went out.", examples=[17_495]
    )
    resets_at: Instant | None = Field(description="When the oldest of `used` leaves the window; null: there is none.")


class AccountLimits(Output):
    """What the network of one account still allows."""

    account_id: AccountId
    network: str
    posts: PostQuota
    text: TextRuleRead | None = Field(description="Null when the network is not served here any more.")
    media: MediaRuleRead | None = Field(description="Null when the network is not served here any more.")
    as_of: Instant = Field(description="When this was counted.")


class NetworkList(Output):
    """Every network, by name."""

    data: list[NetworkRead]
    next_cursor: Literal[None] = None


def read_rules(facts: Capabilities) -> tuple[TextRuleRead, MediaRuleRead]:
    """Write a network's rules for text and media for the wire."""
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
    text, media = read_rules(facts)
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
        posts_per_day=facts.posts_per_day,
    )


def read_account_capabilities(facts: Capabilities, granted: list[str]) -> AccountCapabilities:
    """Write what one account can do."""
    text, media = read_rules(facts)
    return AccountCapabilities(text=text, media=media, dedupe=facts.dedupe, delete=facts.delete, edit=facts.edit, granted=granted)
