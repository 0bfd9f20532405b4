"""What a social network is to Octavo: facts as data, and six calls.

A connector is one file with one class. It holds facts (`capabilities`) and speaks HTTP; it knows no database, no tenants
and no retries. The runner (`tenants/posts/`, `workers/publishing.py`) owns state, time and repetition.

The life of one publication through a connector:

    check(draft)                    pure: does it fit the network's rules?
    plan(draft)                     pure: names of the prepare steps, in order
    prepare(step, call)             one repeatable step without public effect; returns handles that are stored at once
    freeze(call)                    pure: what must be fixed before the one call (keys, records); stored with the attempt
    publish(call)                   the one call that cannot be repeated
    reconcile(call)                 after an unknown outcome: Found, Absent (proven) or Inconclusive
    delete(call)                    takes a published post away

Errors are a tree, and the branch is the promise:

    NetworkError
    ├── Refused             provably without effect
    │   ├── Rejected        the content is at fault; permanent
    │   │   └── Duplicate   the network says that it has this post already: look it up, adopt it
    │   ├── Unauthorized    the token is dead, proven: a person must reconnect
    │   ├── Expired         the access token ran out: refresh, then again
    │   ├── Forbidden       a right is missing, or a person must act at the network
    │   └── RateLimited     too often; `until` says when again
    ├── Unavailable         surely not sent (name, connect, TLS, pool)
    └── Uncertain           maybe sent: everything else
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

Handles = dict[str, Any]
"""What a step stored: JSON only. Merged over the steps of one publication, so names carry the step's meaning."""

# --- facts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextRule:
    """How long a text may be, in the network's own unit."""

    max_length: int
    unit: Literal["code_points", "utf16", "utf8_bytes", "graphemes", "x_weighted"]
    max_bytes: int | None = None
    required: bool = False
    links: Literal["live", "plain", "costly"] = "live"
    fold_lines: int | None = None
    """What a reader sees before "more", in lines (about five on VK)."""
    fold_length: int | None = None
    """The same, in the rule's unit."""
    hashtags_max: int | None = None
    mentions_max: int | None = None


@dataclass(frozen=True, slots=True)
class MediaRule:
    """Which files may stand in one post."""

    kinds: frozenset[str] = frozenset()
    max_count: int = 0
    content_types: frozenset[str] = frozenset()
    max_bytes: int = 0
    max_alt_length: int = 2_000
    delivery: Literal["bytes", "public_url", "either"] = "bytes"


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One field of the form that a person fills in to connect."""

    name: str
    label: str
    secret: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A network as data: served at /v1/networks, narrowed for an account by what its token may do.

    `dedupe` is the contract class of reliability: `key` (a repeat with the same key is harmless), `handle` (a stored
    container answers whether it was used), `readback` (only a look at the account's list can tell), `blind` (nothing can).
    """

    name: str
    title: str
    connect: frozenset[Literal["credentials", "redirect"]]
    credentials: tuple[CredentialField, ...]
    text: TextRule
    media: MediaRule
    dedupe: Literal["key", "handle", "readback", "blind"]
    settle: timedelta
    """How long after a call the network may still make its effect visible: absence counts only after that."""
    call_deadline: timedelta
    """Total time that the one call may take."""
    delete: bool = True
    edit: Literal["none", "text", "full"] = "none"
    token: Literal["static", "refresh_stable", "refresh_rotating", "sliding"] = "static"
    refresh_grace: timedelta = timedelta(0)
    """How long the network still takes an old refresh token after it gave a new one."""
    test_mode: bool = False
    """Reached by test keys only (the sandbox); every other network by live keys only."""
    promise: str = ""
    """What may be promised about double posts, in one public sentence."""
    posts_per_day: int | None = None
    """What the network takes from one account within 24 hours; None where it names no figure."""


# --- what travels --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Media:
    """One file of a draft. Its bytes come in `Call.media_data`, for `prepare` alone."""

    asset_version_id: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    alt_text: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """The content for one account, as the network will get it."""

    text: str
    media: tuple[Media, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` has to say. `pointer` is relative to the variant: /text, /media/0, /options/x."""

    code: str
    severity: Literal["error", "warning"]
    pointer: str
    detail: str
    limit: int | None = None
    actual: int | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the network gave us to act for an account. Sealed as JSON in a Connection; never logged.

    `values` are the network's own (tokens, service URL); `expires_at` is that of the access token.
    """

    values: Mapping[str, str]
    expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Credentials(***)"


@dataclass(frozen=True, slots=True)
class Target:
    """A page, channel, group or profile that a person may pick while connecting; also who an account is."""

    external_id: str
    name: str
    handle: str | None = None
    url: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    newest_external_id: str | None = None
    """The newest post seen on it when it was connected: the first positive control for read-back."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The end of connecting: one authorisation, and what it reaches."""

    credentials: Credentials
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Authorization:
    """Where a person is sent in the redirect kind; the runner adds nothing to `url`."""

    url: str
    code_verifier: str


@dataclass(frozen=True, slots=True)
class Call:
    """Everything one call may know: whose account, what content, what was stored before.

    `key` is stable for the publication; `started_at` is the database's time of the attempt (of the first undecided one,
    for `reconcile`); `control` is a post known to exist on the account, for the positive control.
    """

    credentials: Credentials
    account: Target
    draft: Draft
    key: str
    started_at: datetime
    handles: Mapping[str, Any] = field(default_factory=dict)
    control: str | None = None
    external_id: str | None = None
    media_data: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The network accepted: its id for the post, and where people see it."""

    external_id: str
    external_url: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The look-up proved that the post is there."""

    receipt: Receipt
    evidence: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The look-up proved that the post is not there and will not appear: sending again is safe."""

    evidence: str


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """The look-up proved nothing; ask again later."""

    evidence: str


Reconciled = Found | Absent | Inconclusive

# --- errors --------------------------------------------------------------------------------------------------------


class NetworkError(Exception):
    """Base of what a connector raises. `code` is ours and stable; `detail` is safe to show; `raw_code` is the network's."""

    code: ClassVar[str] = "network_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        raw_code: str | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.error_code = code or self.code
        self.raw_code = raw_code
        self.http_status = http_status
        self.request_id = request_id


class Refused(NetworkError):
    """The network answered, and the answer proves that nothing was done."""

    code = "refused"


class Rejected(Refused):
    """The content or the request is at fault; sending it again changes nothing."""

    code = "content_rejected"


class Duplicate(Rejected):
    """The network says that this post exists already."""

    code = "duplicate_content"


class Unauthorized(Refused):
    """The authorisation is dead, by the network's own word: only a person can reconnect."""

    code = "authorisation_lost"


class Expired(Refused):
    """The access token ran out; a refresh mends it."""

    code = "token_expired"


class Forbidden(Refused):
    """A right is missing, or a person must act at the network first."""

    code = "permission_missing"


class RateLimited(Refused):
    """Too often. `until` is when the network takes calls again; None if it did not say."""

    code = "rate_limited"

    def __init__(self, detail: str, *, until: datetime | None, **about: Any) -> None:
        super().__init__(detail, **about)
        self.until = until


class Unavailable(NetworkError):
    """The request surely never reached the network."""

    code = "network_unavailable"


class Uncertain(NetworkError):
    """The request may have reached the network, and may have worked."""

    code = "outcome_unknown"


# --- the protocol --------------------------------------------------------------------------------------------------


class Network(Protocol):
    """A connector. Every method that does I/O raises only errors of the tree above, within `capabilities.call_deadline`."""

    capabilities: Capabilities
    issuer: str | None
    """Who must have signed the answer of the redirect kind (RFC 9207); None where the network names nobody."""

    async def authorize(self, redirect_uri: str, state: str) -> Authorization:
        """Begin the redirect kind: where to send the person. PKCE S256 always."""
        ...

    async def exchange(self, redirect_uri: str, code: str, code_verifier: str) -> Connected:
        """End the redirect kind: the code for credentials, and the targets it reaches."""
        ...

    async def connect(self, credentials: Mapping[str, str]) -> Connected:
        """The credential kind: try what a person typed, and list what it reaches. Raises Unauthorized for wrong ones."""
        ...

    async def refresh(self, credentials: Credentials) -> Credentials:
        """Exchange for a new access token. Unauthorized is proof; Unavailable was surely not presented; else Uncertain."""
        ...

    def check(self, draft: Draft) -> Sequence[Finding]:
        """Say what does not fit. Pure."""
        ...

    def plan(self, draft: Draft) -> Sequence[str]:
        """Name the prepare steps in order; empty when the one call is all. Pure."""
        ...

    async def prepare(self, step: str, call: Call) -> Handles:
        """Do one repeatable step; what it returns is stored before the next begins."""
        ...

    def freeze(self, call: Call) -> Handles:
        """Fix what the one call sends under a name that a repeat would share. Pure."""
        ...

    async def publish(self, call: Call) -> Receipt:
        """Make the one call that cannot be repeated."""
        ...

    async def reconcile(self, call: Call) -> Reconciled:
        """Find out whether `publish` worked. Never publishes."""
        ...

    async def delete(self, call: Call) -> None:
        """Take the post `call.external_id` away; a post that is not there counts as done."""
        ...


@runtime_checkable
class Revokes(Protocol):
    """A connector whose network can be asked to end an authorisation."""

    async def revoke(self, credentials: Credentials) -> None:
        """End it. What the network does not know any more counts as done. Raises errors of the tree above."""
        ...
