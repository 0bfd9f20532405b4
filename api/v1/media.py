"""Media: the files that posts carry."""

import hashlib
import tempfile
import unicodedata
from typing import Annotated, Any, BinaryIO, TypeVar
from urllib.parse import quote

import orjson
from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ValidationError

from api.conditions import IfMatch, check_version, set_etag
from api.dependencies import DB, Idem, IdemApart, can, can_apart
from api.multipart import read_upload
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.errors import Malformed, UnsupportedMedia
from core.wire import AssetId, WorkspaceId
from tenants.audit.entries import Entry, pick
from tenants.media import service
from tenants.media.decode import BYTES_MAX
from tenants.media.fetch import fetch
from tenants.media.schemas import AssetRead, AssetUpdate, MediaFetch, MediaFields
from tenants.permissions import Actor, Permission

router = v1("Media")
Model = TypeVar("Model", bound=BaseModel)
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                            "description": f"JPEG, PNG, WebP or GIF of at most {BYTES_MAX} bytes.",
                        },
                        **MediaFields.model_json_schema()["properties"],
                    },
                    "additionalProperties": False,
                }
            },
            "application/json": {"schema": MediaFetch.model_json_schema()},
        },
    }
}
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes",
        "content": {
            kind: {"schema": {"type": "string", "contentMediaType": kind}}
            for kind in ("image/jpeg", "image/png", "image/webp", "image/gif")
        },
    },
    304: {"description": "The bytes that the caller has are the newest"},
}


@router.post(
    "/workspaces/{workspace_id}/media",
    status_code=201,
    response_model=AssetRead,
    summary="Upload a file",
    openapi_extra=UPLOAD_BODY,
)
async def upload_media(
    workspace_id: WorkspaceId,
    actor: Annotated[Actor, can_apart(Permission.MEDIA_CREATE)],
    idem: IdemApart,
    request: Request,
) -> Response:
    """Take a picture, as multipart or by its address. It is written anew: position, camera and other EXIF are dropped."""
    state = request.app.state
    async with state.database.session(actor.tenant) as session:
        await service.check_workspace(session, actor, workspace_id)
    with tempfile.TemporaryFile() as file:
        filename, declared, alt_text, digest = await _receive(request, file)
        async with (
            service.store_picture(state.store, actor, workspace_id, file, declared) as stored,
            state.database.session(actor.tenant) as session,
        ):
            actor = await idem.begin(session, digest)
            read = await service.create_asset(session, actor, workspace_id, stored, filename=filename, alt_text=alt_text, now=now())
            location = read.url.removesuffix("/content")
            entry = Entry("asset", read.id, workspace_id, after=pick("asset", read))
            return await idem.respond_in(session, read, entry, status=201, location=location, etag=read.version)


async def _receive(request: Request, file: BinaryIO) -> tuple[str, str | None, str, bytes]:
    """Bring the bytes here: name, declared type, description, and the fingerprint (empty: that of the JSON body)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        upload = await read_upload(request, file, file_bytes_max=BYTES_MAX)
        alt_text = _validated(MediaFields, upload.fields).alt_text
        said = orjson.dumps([upload.filename, upload.content_type, alt_text, upload.digest.hex()])
        return upload.filename, upload.content_type, alt_text, hashlib.sha256(said).digest()
    if kind == "application/json":
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia(code="unsupported_encoding")
        if not await request.body():
            raise Malformed(code="body_required")
        wish = _validated(MediaFetch, await request.json())
        fetched = await fetch(request.app.state.client, wish.url, file)
        return fetched.filename, fetched.content_type, wish.alt_text, b""
    raise UnsupportedMedia("The body must be multipart/form-data or application/json.")


def _validated(model: type[Model], value: Any) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error


@router.get("/workspaces/{workspace_id}/media", response_model=Page[AssetRead], summary="List files")
async def list_media(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.MEDIA_READ)], request: Request,
    response: Response, query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The files of a workspace, newest first."""
    after = read_cursor(request, actor, query)
    rows = await service.list_assets(db, actor, workspace_id, after=after, limit=query.limit + 1)
    return page_of(request, response, actor, query, rows, [row.id for row in rows])


@router.get("/workspaces/{workspace_id}/media/{asset_id}", response_model=AssetRead, summary="Get a file")
async def get_media(
    workspace_id: WorkspaceId, asset_id: AssetId, db: DB, actor: Annotated[Actor, can(Permission.MEDIA_READ)],
    response: Response,
) -> AssetRead:  # fmt: skip
    """One file with its versions, without its bytes."""
    read = await service.get_asset(db, actor, workspace_id, asset_id)
    set_etag(response, read.version)
    return read


@router.get(
    "/workspaces/{workspace_id}/media/{asset_id}/content",
    response_class=Response,
    responses=CONTENT,
    summary="Download a file",
)
async def download_media(
    workspace_id: WorkspaceId,
    asset_id: AssetId,
    actor: Annotated[Actor, can_apart(Permission.MEDIA_READ)],
    request: Request,
) -> Response:
    """The bytes of the newest version, as an attachment."""
    async with request.app.state.database.session(actor.tenant) as session:
        asset, version = await service.newest_version(session, actor, workspace_id, asset_id)
    headers = {
        "ETag": f'"{version.sha256.hex()}"',
        # Kept by the caller alone, and asked about each time: who loses access loses it at once.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": content_disposition(asset.filename),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if headers["ETag"] in known or "*" in known:
        return Response(status_code=304, headers=headers)
    pieces = await request.app.state.store.stream(version.storage_key)
    headers["Content-Length"] = str(version.size_bytes)
    return StreamingResponse(pieces, media_type=version.content_type, headers=headers)


def content_disposition(filename: str) -> str:
    """Write the header of a download (RFC 6266): the name in ASCII for old readers, and in UTF-8 by RFC 8187."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "replace").decode()
    plain = "".join("_" if character in '?"\\%' or not character.isprintable() else character for character in plain)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


@router.patch("/workspaces/{workspace_id}/media/{asset_id}", response_model=AssetRead, summary="Change a file")
async def update_media(
    workspace_id: WorkspaceId, asset_id: AssetId, db: DB, actor: Annotated[Actor, can(Permission.MEDIA_CREATE)],
    idem: Idem, expected: IfMatch, body: AssetUpdate,
) -> Response:  # fmt: skip
    """Change name or description by JSON merge patch. `If-Match` is honoured."""
    asset = await service.lock_asset(db, actor, workspace_id, asset_id)
    check_version(expected, asset.version)
    before = pick("asset", asset)
    read = await service.update_asset(db, actor, asset, body, now())
    return await idem.respond(read, Entry("asset", asset_id, workspace_id, before, pick("asset", read)), etag=read.version)


@router.delete("/workspaces/{workspace_id}/media/{asset_id}", status_code=204, summary="Delete a file")
async def delete_media(
    workspace_id: WorkspaceId,
    asset_id: AssetId,
    actor: Annotated[Actor, can_apart(Permission.MEDIA_DELETE)],
    idem: IdemApart,
    expected: IfMatch,
    request: Request,
) -> Response:
    """Delete a file and its bytes, unless a post that is not archived carries it. `If-Match` is honoured."""
    state = request.app.state
    async with state.database.session(actor.tenant) as session:
        actor = await idem.begin(session)
        asset = await service.lock_asset(session, actor, workspace_id, asset_id)
        check_version(expected, asset.version)
        entry = Entry("asset", asset_id, workspace_id, before=pick("asset", asset))
        keys = await service.delete_asset(session, actor, asset)
        answer = await idem.respond_in(session, None, entry, status=204)
    for key in keys:
        await state.store.discard(key)
    return answer
