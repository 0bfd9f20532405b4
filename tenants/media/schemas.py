"""Wire shapes of media."""

from typing import Annotated

from pydantic import AfterValidator, Field, field_serializer

from core.wire import AssetId, AssetVersionId, Input, Instant, Output, WorkspaceId

ALT_LENGTH_MAX = 2_000
"""Characters of a description: what the networks' own rule defaults to (`networks.base.MediaRule`)."""
FILENAME_LENGTH_MAX = 4_096
"""Longest name taken; what is kept of it is much shorter (`names`)."""
URL_LENGTH_MAX = 2_048


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a character that cannot be stored")
    return value


AltText = Annotated[str, AfterValidator(_text), Field(max_length=ALT_LENGTH_MAX, examples=["A tray of cinnamon buns on a counter"])]
Filename = Annotated[str, AfterValidator(_text), Field(min_length=1, max_length=FILENAME_LENGTH_MAX, examples=["buns.jpg"])]


class MediaFetch(Input):
    """A file to be fetched from a public HTTPS address. It is fetched once; the copy is what is posted."""

    url: str = Field(min_length=1, max_length=URL_LENGTH_MAX, examples=["https://www.example.com/buns.jpg"])
    alt_text: AltText = ""


class MediaFields(Input):
    """What stands beside the file in a multipart upload."""

    alt_text: AltText = ""


class AssetUpdate(Input):
    """Changes to a file's description and name, as a JSON merge patch."""

    alt_text: AltText | None = Field(None, description="Null takes the description away.")
    filename: Filename = Field(default_factory=str, description="Kept without folders and invisible characters.")


class AssetVersionRead(Output):
    """One immutable version of a file: what a post is pinned to."""

    id: AssetVersionId
    number: int
    content_type: str = Field(examples=["image/jpeg"])
    size_bytes: int
    width: int
    height: int
    sha256: bytes = Field(description="Of the bytes as we keep them, in hexadecimal.")
    created_at: Instant

    @field_serializer("sha256")
    def _hex(self, value: bytes) -> str:
        return value.hex()


class AssetRead(Output):
    """A file of a workspace. Type, size and dimensions are those of its newest version."""

    id: AssetId
    workspace_id: WorkspaceId
    filename: str
    alt_text: str
    content_type: str = Field(examples=["image/jpeg"])
    size_bytes: int
    width: int
    height: int
    versions: list[AssetVersionRead] = Field(description="Oldest first.")
    url: str = Field(description="Path of the bytes; it needs the same key.")
    allowed_actions: list[str] = Field(
        description="What this caller may do. A file that a post needs still answers 409 to `delete`."
    )
    version: int
    created_at: Instant
    updated_at: Instant
