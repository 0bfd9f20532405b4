"""Wire shapes of the audit log."""

from typing import Annotated, Any

from pydantic import Field

from core.ids import ALPHABET, SUFFIX_LENGTH
from core.wire import AuditEntryId, Instant, Output, WorkspaceId

ID_LENGTH_MAX = 4 + SUFFIX_LENGTH
HASH_LENGTH = 64
ID_EXAMPLE = "pst_01kazm3v9sfa4t2tq9gk1x7c5e"
AnyId = Annotated[
    str, Field(pattern=f"^[a-z]{{3}}_[0-7][{ALPHABET}]{{{SUFFIX_LENGTH - 1}}}$", max_length=ID_LENGTH_MAX, examples=[ID_EXAMPLE])
]
"""An id of any kind, as it stands on the wire."""
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$", max_length=HASH_LENGTH, examples=["9f86d081884c7d65" * 4])]
Told = dict[str, Any]


class Named(Output):
    """A thing by its kind and its id. It may be gone by now."""

    type: str = Field(description="Which kind of thing. The set is open.", examples=["post"])
    id: AnyId


class AuditEntryRead(Output):
    """Who changed what."""

    id: AuditEntryId
    sequence: int | None = Field(description="Its number in the agency's chain, from 1; null: not sealed yet.", examples=[4711])
    hash: Hash | None = Field(description="The link of the chain: it covers this entry and all before it; null: not sealed yet.")
    at: Instant = Field(description="When the change began.")
    action: str = Field(description="What was done: `noun.verb`. The set is open.", examples=["workspace.update"])
    actor: Named = Field(description="Who did it.", examples=[{"type": "key", "id": "key_01kazm3v9sfa4t2tq9gk1x7c5e"}])
    on_behalf_of: Named | None = Field(description="For whom, if not for itself.")
    credential: Named | None = Field(
        description="By what the actor was known: the session of a member, the grant of an application; null: by the actor itself,"
        " as a key is, or it is not known.",
        examples=[{"type": "session", "id": "ses_01kazm3v9sfa4t2tq9gk1x7c5e"}],
    )
    workspace_id: WorkspaceId | None = Field(description="Where; null: it is the agency's.")
    subject: Named = Field(description="To what.", examples=[{"type": "post", "id": ID_EXAMPLE}])
    address: str | None = Field(description="The address that the request came from.", examples=["203.0.113.7"])
    user_agent: str | None = Field(description="What the program called itself, shortened.", examples=["bakery-dashboard/2.1"])
    request_id: str = Field(examples=["req_01kazm3v9sfa4t2tq9gk1x7c5e"])
    before: Told | None = Field(
        description="What it was. Nothing secret stands here, and of content its SHA-256; null: it was not there.",
        examples=[{"state": "draft", "version": 1}],
    )
    after: Told | None = Field(
        description="What it is since then; null: it is gone.", examples=[{"state": "scheduled", "version": 2}]
    )


class AuditHead(Output):
    """The end of the chain. Keep it somewhere else: it fixes every entry before it."""

    sequence: int = Field(ge=0, description="How many entries are sealed.", examples=[4711])
    hash: Hash = Field(description="The last link; 64 zeros while nothing is sealed.")
    at: Instant | None = Field(description="When it was sealed; null: nothing is yet.")
    unsealed: int = Field(ge=0, description="Entries that wait for their seal, some seconds as a rule.", examples=[2])


class AuditVerification(Output):
    """What recomputing a part of the chain gave."""

    ok: bool = Field(description="True: every link of the part holds.", examples=[True])
    from_sequence: int = Field(ge=1, description="The first number that was looked at.", examples=[1])
    to_sequence: int = Field(ge=0, description="The last one.", examples=[4711])
    checked: int = Field(ge=0, description="How many links were recomputed: of entries that the caller sees.", examples=[4711])
    broken_sequence: int | None = Field(description="The first number that does not hold.", examples=[None])
    broken_reason: str | None = Field(
        description="Why: `hash_differs`, `entry_missing`, `seal_missing`, or `entry_unsealed` (one stands before it that the chain"
        " passed by). The set is open.",
        examples=[None],
    )
    next_sequence: int | None = Field(description="Give it as `from_sequence` to go on; null at the end.", examples=[None])
    head: AuditHead
