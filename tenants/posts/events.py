"""What the events of posts and publications carry."""

from pydantic import Field

from core.wire import AccountId, Output, PostId
from tenants.posts.schemas import ErrorRead, FindingRead


class PostEvent(Output):
    """Nothing more than that it happened: get the post."""


class PostUpdated(Output):
    """Which fields of a post were changed."""

    fields: list[str] = Field(description="Names of the fields that were given.", examples=[["text"]])


class PublicationEvent(Output):
    """What became of one delivery."""

    post_id: PostId
    account_id: AccountId
    state: str = Field(description="The state that it has now. The set is open.", examples=["published"])
    external_url: str | None = Field(
        description="Where the network shows it, once it does.", examples=["https://bsky.app/profile/bakery/post/3k2"]
    )
    error: ErrorRead | None = Field(None, description="Why it is where it is; absent where nothing is wrong.", examples=[None])


class PostFindings(Output):
    """What turned bad about a scheduled post since it was looked at last."""

    severity: str = Field(description="The worst of the findings.", examples=["warning"])
    findings: list[FindingRead] = Field(description="Everything about it that is a warning or an error, twenty at most.")


EVENTS: dict[str, tuple[type[Output], str]] = {
    "post.created": (PostEvent, "A post was made."),
    "post.updated": (PostUpdated, "The content of a post was changed."),
    "post.findings_changed": (PostFindings, "Something about a scheduled post turned bad since the last nightly look."),
    "post.archived": (PostEvent, "A post was put away."),
    "post.deleted": (PostEvent, "A post was deleted."),
    "publication.scheduled": (PublicationEvent, "A delivery has a time, or another one."),
    "publication.cancelled": (PublicationEvent, "A delivery was taken back before it began."),
    "publication.published": (PublicationEvent, "A post went out: the network shows it."),
    "publication.failed": (PublicationEvent, "A delivery ended without a post, proven. A person may retry it."),
    "publication.blocked": (PublicationEvent, "A delivery waits for its account: a reconnect, or the end of a pause."),
    "publication.missed": (PublicationEvent, "The time of a delivery passed by more than the workspace's window."),
    "publication.outcome_unknown": (PublicationEvent, "An answer was lost: it is being looked up, and not sent again."),
    "publication.needs_human": (PublicationEvent, "Whether it went out only a person can see."),
    "publication.unpublishing": (PublicationEvent, "A published post is being taken away from the network."),
    "publication.removed": (PublicationEvent, "A published post is no longer on the network."),
    "publication.not_removed": (PublicationEvent, "The network did not take a published post away."),
}
"""Type -> the shape of its `data`, and what it tells. A test holds it against every event that is emitted."""
