"""Bluesky: the AT Protocol, spoken to the account's own server (PDS).

Of the contract class `key`: the post's record key and content are fixed before the one call, and the call (`putRecord`
with `swapRecord: null`) writes where nothing stood, or finds the same record, or changes nothing. Facts are from the
lexicons and @atproto/pds 0.5.35, read and run 2026-11, unless another source stands beside them.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from networks.base import (
    Absent,
    Authorization,
    Call,
    Capabilities,
    Connected,
    CredentialField,
    Credentials,
    Draft,
    Finding,
    Found,
    Handles,
    Inconclusive,
    MediaRule,
    Receipt,
    Reconciled,
    Rejected,
    Target,
    TextRule,
    Unauthorized,
    Uncertain,
)
from networks.client import Answer, Client
from networks.richtext import (
    ALT_LENGTH_MAX,
    BYTES_MAX,
    COLLECTION,
    GRAPHEMES_MAX,
    IMAGE_BYTES_MAX,
    IMAGE_STEP,
    IMAGE_TYPES,
    IMAGES_MAX,
    MENTION_STEP,
    media_findings,
    mentioned_handles,
    record,
    text_findings,
    tid,
)
from networks.xrpc import Step, error_name, own_server, read_answer, session_credentials

MENTIONS_MAX = 25
"""Ours: handles that are looked up for one post. Later ones stay plain text."""
CALL_DEADLINE = timedelta(seconds=20)
HALF_DEADLINE_S = CALL_DEADLINE.total_seconds() / 2
"""For what takes two calls."""
REFRESH_GRACE = timedelta(hours=2)
"""How long a rotated refresh token still answers with its successor (account-manager.js of the PDS)."""
POINTS_PER_DAY = 35_000
POINTS_PER_POST = 2
"""putRecord costs as much as an update, also where it creates (docs.bsky.app, rate limits; @atproto/pds; both read 2026-11).
There are 5,000 points an hour besides; an account that comes near them is told by the network's 429."""
AT_URI = re.compile(r"at://(did:[a-z]+:[A-Za-z0-9._:%-]+)/([A-Za-z0-9.-]+)/([A-Za-z0-9._:~-]{1,512})")
PROMISE = "Exactly once: the key and the content of a post are fixed before it is sent, and a repeat changes nothing."


class Bluesky:
    """The connector. `default_service_url` is where accounts sign in that name no server of their own."""

    def __init__(self, client: Client, *, default_service_url: str) -> None:
        self._client = client
        self.issuer: str | None = None
        self._default_service_url = default_service_url.rstrip("/")
        self.capabilities = _capabilities()

    # --- connecting ------------------------------------------------------------------------------------------------

    async def authorize(self, redirect_uri: str, state: str) -> Authorization:
        """Refuse: there is no redirect kind here yet."""
        raise Rejected("Bluesky connects with an app password.", code="not_supported")

    async def exchange(self, redirect_uri: str, code: str, code_verifier: str) -> Connected:
        """Refuse: there is no redirect kind here yet."""
        raise Rejected("Bluesky connects with an app password.", code="not_supported")

    async def connect(self, credentials: Mapping[str, str]) -> Connected:
        """Sign in with handle (or e-mail, or DID) and app password; find its own server and newest post."""
        service_url = _service_url(credentials.get("service_url", "")) or self._default_service_url
        wish = {
            "identifier": credentials.get("identifier", "").strip().removeprefix("@"),
            "password": credentials.get("app_password", "").strip(),
        }
        try:
            session = await self._call(
                "connect",
                "POST",
                service_url,
                "com.atproto.server.createSession",
                json=wish,
                deadline_s=HALF_DEADLINE_S,
            )
        except Unauthorized as error:
            if error.raw_code == "AuthFactorTokenRequired":
                error.detail = "This account asks for a second factor: make an app password and use that."
            raise
        granted = session_credentials(session, own_server(session) or service_url)
        did, handle = granted.values["did"], granted.values["handle"]
        target = Target(
            external_id=did,
            name=handle,
            handle=handle,
            url=f"https://bsky.app/profile/{_shown(granted)}",
            newest_external_id=await self._newest(granted),
        )
        return Connected(granted, (target,))

    async def refresh(self, credentials: Credentials) -> Credentials:
        """Exchange the refresh token for a new pair; for two hours more the old one still works."""
        service_url = credentials.values["service_url"]
        headers = {"Authorization": f"Bearer {credentials.values['refresh_token']}"}
        session = await self._call("refresh", "POST", service_url, "com.atproto.server.refreshSession", headers=headers)
        if session.get("did") != credentials.values["did"]:
            raise Uncertain("Bluesky renewed the authorisation of another account.")
        return session_credentials(session, own_server(session) or service_url)

    async def revoke(self, credentials: Credentials) -> None:
        """End the session by its refresh token (lexicon com.atproto.server.deleteSession, read 2026-11). The app password stays."""
        headers = {"Authorization": f"Bearer {credentials.values['refresh_token']}"}
        service_url = credentials.values["service_url"]
        answer = await self._request("POST", service_url, "com.atproto.server.deleteSession", headers=headers)
        if answer.status != 200:  # a good answer has no body
            try:
                read_answer("refresh", answer)
            except Unauthorized:
                return

    async def _newest(self, credentials: Credentials) -> str | None:
        params = {"repo": credentials.values["did"], "collection": COLLECTION, "limit": "1"}
        body = await self._own(
            "connect", "GET", "com.atproto.repo.listRecords", credentials, params=params, deadline_s=HALF_DEADLINE_S
        )
        records = body.get("records")
        newest = records[0].get("uri") if isinstance(records, list) and records and isinstance(records[0], dict) else None
        return newest if isinstance(newest, str) and newest.isprintable() else None

    # --- publishing ------------------------------------------------------------------------------------------------

    def check(self, draft: Draft) -> Sequence[Finding]:
        """Hold the draft against the limits of the lexicon."""
        return [*text_findings(draft), *media_findings(draft)]

    def plan(self, draft: Draft) -> Sequence[str]:
        """One step for all mentions, one for each image; none for plain text."""
        mentions = [MENTION_STEP] if mentioned_handles(draft.text) else []
        return mentions + [f"{IMAGE_STEP}{number}" for number in range(len(draft.media))]

    async def prepare(self, step: str, call: Call) -> Handles:
        """Look up who is mentioned, or upload one image. Equal bytes give the same blob; unused ones are swept away."""
        if step == MENTION_STEP:
            handles = mentioned_handles(call.draft.text)[:MENTIONS_MAX]
            wanted = (self._resolve(handle, call.credentials) for handle in handles)
            dids = await asyncio.gather(*wanted, return_exceptions=True)
            for one in dids:
                if isinstance(one, BaseException):
                    raise one
            return {MENTION_STEP: {handle: did for handle, did in zip(handles, dids, strict=True) if did}}
        media = call.draft.media[int(step.removeprefix(IMAGE_STEP))]
        body = await self._own(
            "prepare",
            "POST",
            "com.atproto.repo.uploadBlob",
            call.credentials,
            headers={"Content-Type": media.content_type},
            data=call.media_data[media.asset_version_id],
        )
        blob = body.get("blob")
        if not isinstance(blob, dict) or "ref" not in blob:
            raise Uncertain("Bluesky's answer to an upload names no blob.")
        return {step: blob}

    async def _resolve(self, handle: str, credentials: Credentials) -> str | None:
        try:
            body = await self._own("prepare", "GET", "com.atproto.identity.resolveHandle", credentials, params={"handle": handle})
        except Rejected:
            return None
        did = body.get("did")
        return did if isinstance(did, str) and did.startswith("did:") else None

    def freeze(self, call: Call) -> Handles:
        """Fix the record key, which stays for all attempts, and the record, which says when it was made.

        Should an attempt that counts as refused have worked, its record stands under the key, so a second one is refused.
        """
        rkey = call.handles.get("rkey") or tid(call.started_at, call.key)
        return {"rkey": rkey, "record": record(call.draft, call.handles, call.started_at)}

    async def publish(self, call: Call) -> Receipt:
        """Put the frozen record under its frozen key, where nothing or the very same may stand."""
        rkey = call.handles["rkey"]
        wish = {
            "repo": call.account.external_id,
            "collection": COLLECTION,
            "rkey": rkey,
            "record": call.handles["record"],
            "swapRecord": None,
        }
        body = await self._own("publish", "POST", "com.atproto.repo.putRecord", call.credentials, json=wish)
        return _receipt(call, body.get("uri"), rkey)

    async def reconcile(self, call: Call) -> Reconciled:
        """Ask the account's own server for the key. Not there is proof while that server takes our session."""
        rkey = call.handles.get("rkey")
        if not isinstance(rkey, str):
            return Inconclusive("No record key was stored, so there is nothing to ask for.")
        params = {"repo": call.account.external_id, "collection": COLLECTION, "rkey": rkey}
        answer = await self._send(call.credentials, "GET", "com.atproto.repo.getRecord", params=params, deadline_s=HALF_DEADLINE_S)
        if answer.status == 400 and error_name(answer) == "RecordNotFound":
            session = await self._own("read", "GET", "com.atproto.server.getSession", call.credentials, deadline_s=HALF_DEADLINE_S)
            if session.get("did") != call.account.external_id:
                return Inconclusive("The session at this server is of another account.")
            return Absent(f"The account's own server has no record {rkey}, and a repeat would use the same key.")
        body = read_answer("read", answer)
        value, frozen = body.get("value"), call.handles.get("record")
        if not isinstance(value, dict):
            raise Uncertain("Bluesky's answer holds no record.")
        if isinstance(frozen, dict) and all(value.get(one) != frozen.get(one) for one in ("createdAt", "text")):
            return Inconclusive(f"Another post stands under the key {rkey}.")
        return Found(_receipt(call, body.get("uri"), rkey), f"The account's own server has the record {rkey}.")

    async def delete(self, call: Call) -> None:
        """Delete the record; one that is not there counts as done."""
        match = AT_URI.fullmatch(call.external_id or "")
        if match is None or (match[1], match[2]) != (call.account.external_id, COLLECTION):
            raise Rejected("This is not a post of the account.")
        wish = {"repo": match[1], "collection": match[2], "rkey": match[3]}
        await self._own("delete", "POST", "com.atproto.repo.deleteRecord", call.credentials, json=wish)

    # --- the wire --------------------------------------------------------------------------------------------------

    async def _own(self, step: Step, method: str, name: str, credentials: Credentials, **sent: Any) -> dict[str, Any]:
        """Call the account's own server with its access token, and read the answer."""
        return read_answer(step, await self._send(credentials, method, name, **sent))

    async def _send(
        self,
        credentials: Credentials,
        method: str,
        name: str,
        *,
        headers: Mapping[str, str] | None = None,
        **sent: Any,
    ) -> Answer:
        signed = {**(headers or {}), "Authorization": f"Bearer {credentials.values['access_token']}"}
        return await self._request(method, credentials.values["service_url"], name, headers=signed, **sent)

    async def _call(self, step: Step, method: str, service_url: str, name: str, **sent: Any) -> dict[str, Any]:
        return read_answer(step, await self._request(method, service_url, name, **sent))

    async def _request(
        self,
        method: str,
        service_url: str,
        name: str,
        *,
        deadline_s: float = CALL_DEADLINE.total_seconds(),
        **sent: Any,
    ) -> Answer:
        return await self._client.request(
            method,
            f"{service_url}/xrpc/{name}",
            deadline_s=deadline_s,
            guarded=service_url != self._default_service_url,
            **sent,
        )


def _capabilities() -> Capabilities:
    return Capabilities(
        name="bluesky",
        title="Bluesky",
        connect=frozenset({"credentials"}),
        credentials=(
            CredentialField("identifier", "Handle, such as name.bsky.social"),
            CredentialField("app_password", "App password (from Settings, Privacy and security)", secret=True),
            CredentialField("service_url", "Server, if the account is not at Bluesky itself", required=False),
        ),
        text=TextRule(GRAPHEMES_MAX, "graphemes", max_bytes=BYTES_MAX),
        media=MediaRule(
            kinds=frozenset({"image"}),
            max_count=IMAGES_MAX,
            content_types=IMAGE_TYPES,
            max_bytes=IMAGE_BYTES_MAX,
            max_alt_length=ALT_LENGTH_MAX,
        ),
        dedupe="key",
        settle=timedelta(0),
        call_deadline=CALL_DEADLINE,
        token="refresh_rotating",  # the name of a kind, not a token
        refresh_grace=REFRESH_GRACE,
        promise=PROMISE,
        posts_per_day=POINTS_PER_DAY // POINTS_PER_POST,
    )


def _service_url(text: str) -> str | None:
    """Bring a server that a person typed into the form that is stored; the guard of the client judges it."""
    text = text.strip().rstrip("/")
    if not text:
        return None
    if "?" in text or "#" in text:
        raise Rejected("The server's address must be plain, such as https://pds.example.com.", code="url_not_allowed")
    return text if "://" in text else f"https://{text}"


def _shown(credentials: Credentials) -> str:
    """What stands for the account in links: the handle, or the DID while the handle is broken."""
    handle = credentials.values["handle"]
    return credentials.values["did"] if handle == "handle.invalid" else handle


def _receipt(call: Call, uri: Any, rkey: str) -> Receipt:
    match = AT_URI.fullmatch(uri) if isinstance(uri, str) else None
    if match is None or match[3] != rkey:
        raise Uncertain("Bluesky's answer does not name the post.")
    return Receipt(str(uri), f"https://bsky.app/profile/{_shown(call.credentials)}/post/{rkey}")
