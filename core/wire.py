"""Shapes that every wire model shares: strict input, typed ids, instants with their offset."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from core.ids import ALPHABET, SUFFIX_LENGTH, decode, encode

PREFIXES = {
    "agency": "agc",
    "workspace": "wsp",
    "key": "key",
    "account": "acc",
    "connection": "con",
    "connect_session": "cns",
    "post": "pst",
    "variant": "var",
    "publication": "pub",
    "attempt": "att",
    "asset": "ast",
    "asset_version": "asv",
    "event": "evt",
    "operation": "opr",
    "user": "usr",
    "member": "mem",
    "role": "rol",
    "invitation": "inv",
    "session": "ses",
    "passkey": "psk",
    "audit_entry": "aud",
    "application": "app",
    "grant": "grt",
    "embed_token": "emb",
    "share_link": "shl",
    "identity_provider": "idp",
}
"""Resource -> prefix of its ids on the wire (product.md, section 2)."""
NAME_LENGTH_MAX = 200
INSTANT_LENGTH_MAX = 40
"""RFC 3339 with nanoseconds and an offset has 35."""
DIGITS_MAX = 9
"""Of a number in a query; the largest that any of them means is 100."""


class Input(BaseModel):
    """What comes in: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, hide_input_in_errors=True)


class Patch(Input):
    """A JSON merge patch: what is absent stays as it is. Null is refused but for the fields of `NULLABLE`."""

    NULLABLE: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.NULLABLE:
            raise ValueError("it cannot be null: leave it out to keep it")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Leave the null out that stands for absence inside."""
        schema = handler(core)
        for name, field in handler.resolve_ref_schema(schema)["properties"].items():
            if name not in cls.NULLABLE:
                del field["default"]
                options = [one for one in field.pop("anyOf") if one != {"type": "null"}]
                field.update(options[0] if len(options) == 1 else {"anyOf": options})
        return schema


class Output(BaseModel):
    """What goes out."""

    model_config = ConfigDict(from_attributes=True)


def _reader(prefix: str) -> Any:
    def read(value: Any) -> UUID:
        if isinstance(value, UUID):
            return value
        if not isinstance(value, str):
            raise ValueError(f"an id that begins with {prefix}_ is wanted")
        return decode(prefix, value)

    return read


def _writer(prefix: str) -> Any:
    def write(value: UUID) -> str:
        return encode(prefix, value)

    return write


def id_schema(resource: str) -> dict[str, Any]:
    """Write the schema of a resource's ids."""
    prefix = PREFIXES[resource]
    return {
        "type": "string",
        "pattern": f"^{prefix}_[0-7][{ALPHABET}]{{{SUFFIX_LENGTH - 1}}}$",
        "maxLength": len(prefix) + 1 + SUFFIX_LENGTH,
        "examples": [f"{prefix}_01kazm3v9sfa4t2tq9gk1x7c5e"],
    }


def id_type(resource: str) -> Any:
    """Make the annotated type of a resource's ids: a UUID inside, a TypeID on the wire."""
    prefix = PREFIXES[resource]
    return Annotated[
        UUID,
        BeforeValidator(_reader(prefix)),
        PlainSerializer(_writer(prefix), return_type=str),
        WithJsonSchema(id_schema(resource)),
    ]


AgencyId = id_type("agency")
WorkspaceId = id_type("workspace")
KeyId = id_type("key")
AccountId = id_type("account")
ConnectionId = id_type("connection")
ConnectSessionId = id_type("connect_session")
PostId = id_type("post")
VariantId = id_type("variant")
PublicationId = id_type("publication")
AttemptId = id_type("attempt")
AssetId = id_type("asset")
AssetVersionId = id_type("asset_version")
EventId = id_type("event")
OperationId = id_type("operation")
UserId = id_type("user")
MemberId = id_type("member")
RoleId = id_type("role")
InvitationId = id_type("invitation")
SessionId = id_type("session")
PasskeyId = id_type("passkey")
AuditEntryId = id_type("audit_entry")
ApplicationId = id_type("application")
GrantId = id_type("grant")
EmbedTokenId = id_type("embed_token")
ShareLinkId = id_type("share_link")
IdentityProviderId = id_type("identity_provider")


def write_instant(value: datetime) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds and `Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or len(value) > INSTANT_LENGTH_MAX:
        raise ValueError("an RFC 3339 instant with its offset is wanted")
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("an RFC 3339 instant with its offset is wanted") from error
    if parsed.tzinfo is None:
        raise ValueError("an instant needs its offset from UTC")
    try:
        return parsed.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the instant is out of range") from error


Instant = Annotated[
    datetime,
    BeforeValidator(_read_instant),
    PlainSerializer(write_instant, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "maxLength": INSTANT_LENGTH_MAX, "examples": ["2026-12-01T09:00:00.000Z"]}
    ),
]


def _read_digits(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) <= DIGITS_MAX):
        raise ValueError("a whole number in decimal digits is wanted")
    return value


def _read_flag(value: Any) -> Any:
    if isinstance(value, str) and value not in {"true", "false"}:
        raise ValueError("true or false is wanted")
    return value


QueryNumber = Annotated[int, BeforeValidator(_read_digits)]
"""A whole number in a query, in decimal digits: pydantic alone takes `1.0`, `+1`, `1_0` and spaces too."""
QueryFlag = Annotated[bool, BeforeValidator(_read_flag)]
"""`true` or `false` in a query: pydantic alone takes `1`, `yes`, `on` and their like too."""


INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u3164\u2800"))
"""Characters of no width or no ink, which do not make a name or a post (zero-width space, joiners, word joiner, BOM, soft
hyphen, Mongolian vowel separator, Hangul filler, blank Braille)."""


def is_blank(text: str) -> bool:
    """Say whether nobody would see anything of `text`."""
    return not text.translate(INVISIBLE).strip()


BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that turn text around (Unicode, UAX #9 section 2), so that a name reads as another: they are no part of any."""


def _name(value: str) -> str:
    if BIDI.search(value):
        raise ValueError("a name without marks of the direction of writing is wanted")
    if is_blank(value):
        raise ValueError("a name of at least one visible character is wanted")
    return value


Name = Annotated[str, AfterValidator(_name), Field(min_length=1, max_length=NAME_LENGTH_MAX, examples=["Corner Bakery"])]
"""What people call a thing."""


def encode_known(resource: str, value: UUID) -> str:
    """Write the id of a resource that is named by its noun."""
    return encode(PREFIXES[resource], value)
