"""A fast, strict fake of the sandbox network's wire protocol, with a ledger of its own and faults by rate.

    python -m tests.fakes.network --port 0 --ledger FILE --seed N --faults 0.3

prints `READY <port>`. The ledger is ground truth outside of the processes under test: one JSON line for each accepted
post, and GET /_ledger. Which fault a call meets depends on seed, marker and try alone, so a run can be repeated.

    GET  /_ledger     {posts: [{id, profile, marker, text, arrived_at, due}], calls: {...}, faults: {...}}
    GET  /_lateness   of the posts whose text carries `due=<unix seconds>` or whose body carries `due`
    POST /_reset      forgets everything
"""

import argparse
import asyncio
import json
import re
import signal
import time
import uuid
import zlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import uvloop

from tests.fakes.wire import Answer, Fault, Refused, Request, Wire

PUBLISH_FAULTS = (
    "accept_reset",  # accepts, then RST
    "reset",  # RST before accepting
    "accept_500",
    "error_500",  # 500 before accepting
    "accept_hang",  # accepts, then no answer until the client has gone
    "accept_truncated",  # a 201 that ends in its middle
    "accept_broken_json",
    "late",  # RST, and accepted a while later
    "rate_limited",
    "maintenance",  # 503 that says accepted: false
)
LIST_FAULTS = ("reset", "error_500", "rate_limited", "truncated", "empty", "stale")
"""`empty` shows no post at all, and `stale` an old empty list: a look without positive control believes both."""
TEXT_MAX, MEDIA_MAX, PAGE_MAX = 500, 4, 100
HANDLE = re.compile(r"[A-Za-z0-9_]{1,40}([-.][A-Za-z0-9._-]{1,80})?")
DUE = re.compile(r"\bdue=(\d+(?:\.\d+)?)\b")
STALE_S = 3_600.0

Post = dict[str, Any]


@dataclass
class Options:
    """What the command line says."""

    seed: int = 0
    faults: float = 0.0
    list_faults: float | None = None
    late_s: float = 2.0
    hang_s: float = 15.0
    token_life_s: int = 3_600
    ledger: Path | None = None


@dataclass
class Profile:
    """One target: its posts by arrival, and the pinned one."""

    name: str
    pinned: Post
    posts: list[Post] = field(default_factory=list)


@dataclass
class Grant:
    """One opening of a handle."""

    targets: dict[str, Profile]
    access: str = ""
    refresh: str = ""
    expires_at: float = 0.0
    uploads: set[str] = field(default_factory=set)
    revoked: bool = False


def instant(at: float) -> str:
    """Write unix seconds as the protocol does."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a JSON object that names one key twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("duplicate key")
    return made


def read_json(body: bytes, fields: dict[str, Any], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Read a JSON object that has these fields, of these types, and no others."""
    try:
        value = json.loads(body, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise Refused(400, "invalid_request", "not JSON") from None
    if not isinstance(value, dict) or not (fields.keys() - optional <= value.keys() <= fields.keys()):
        raise Refused(400, "invalid_request", "fields are missing or unknown")
    if any(not isinstance(value[name], fields[name]) for name in value):
        raise Refused(400, "invalid_request", "a field has the wrong type")
    return value


POST_FIELDS = {"profile": str, "marker": str, "text": str, "media": list, "due": (int, float)}
POST_OPTIONAL = frozenset({"media", "due"})


class Network:
    """The fake's memory and its rules; speaks no HTTP."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.file = options.ledger.open("ab", buffering=0) if options.ledger else None
        self.reset()

    def reset(self) -> None:
        """Forget everything but the options. The ledger's file goes on."""
        self.access: dict[str, Grant] = {}
        self.refreshes: dict[str, Grant] = {}
        self.spent: dict[str, Grant] = {}
        self.ledger: list[Post] = []
        self.gone: set[str] = set()
        self.tries: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.epoch = uuid.uuid4().hex

    def fault(self, kinds: tuple[str, ...], key: str, rate: float) -> str | None:
        """Draw the fault that this try of `key` meets."""
        if rate <= 0:
            return None
        self.tries[key] += 1
        draw = zlib.crc32(f"{self.options.seed}/{key}/{self.tries[key]}".encode())
        # a CRC is linear: a multiplication spreads neighbouring keys over both draws
        spread = (draw * 0x9E3779B97F4A7C15) & ((1 << 64) - 1)
        if (spread >> 40) / (1 << 24) >= rate:
            return None
        kind = kinds[((spread >> 8) & 0xFFFFFF) % len(kinds)]
        self.faults[kind] += 1
        return kind

    # --- tokens ----------------------------------------------------------------------------------------------------

    def token(self, body: bytes) -> Answer:
        """Open a handle or a subject, or rotate a pair."""
        fields = {"grant_type": str, "handle": str, "subject": str, "refresh_token": str}
        wish = read_json(body, fields, frozenset(fields))
        match wish:
            case {"grant_type": "handle", "handle": handle, **rest} if not rest:
                if not HANDLE.fullmatch(handle):
                    raise Refused(401, "unknown_handle", "There is no such handle.")
                many = re.split("[-.]", handle)[0] == "many"
                return self._open([f"{handle}-{number}" for number in (1, 2, 3)] if many else [handle])
            case {"grant_type": "subject", "subject": subject, **rest} if subject and not rest:
                return self._open([f"{subject}-page-{number}" for number in (1, 2)])
            case {"grant_type": "refresh_token", "refresh_token": token, **rest} if not rest:
                return self._rotate(token)
        raise Refused(400, "invalid_request")

    def _open(self, names: list[str]) -> Answer:
        def welcome() -> Post:
            return {
                "id": uuid.uuid4().hex,
                "url": None,
                "marker": "welcome",
                "text": "",
                "created_at": instant(time.time()),
            }

        grant = Grant({name: Profile(name, welcome()) for name in names})
        return self._pair(grant)

    def _rotate(self, token: str) -> Answer:
        if reused := self.spent.get(token):
            reused.revoked = True
        grant = self.refreshes.pop(token, None)
        if grant is None or grant.revoked:
            raise Refused(400, "invalid_grant")
        self.spent[token] = grant
        self.access.pop(grant.access, None)
        return self._pair(grant)

    def _pair(self, grant: Grant) -> Answer:
        grant.access, grant.refresh = f"a_{uuid.uuid4().hex}", f"r_{uuid.uuid4().hex}"
        grant.expires_at = time.time() + self.options.token_life_s
        self.access[grant.access] = self.refreshes[grant.refresh] = grant
        targets = [
            {"external_id": name, "name": name, "welcome_id": profile.pinned["id"]} for name, profile in grant.targets.items()
        ]
        body = {"access_token": grant.access, "refresh_token": grant.refresh, "expires_in": self.options.token_life_s}
        return 200, orjson.dumps(body | {"scopes": ["read", "write"], "targets": targets}), ""

    def grant(self, authorization: str) -> Grant:
        """Find whose call it is."""
        grant = self.access.get(authorization[7:]) if authorization.startswith("Bearer ") else None
        if grant is None:
            raise Refused(401, "invalid_token")
        if grant.revoked:
            raise Refused(401, "token_revoked")
        if grant.expires_at <= time.time():
            raise Refused(401, "token_expired")
        return grant

    # --- posts -----------------------------------------------------------------------------------------------------

    def upload(self, grant: Grant, body: bytes, content_type: str) -> Answer:
        """Take an image; only its id is kept."""
        if not content_type.startswith("image/") or not body:
            raise Refused(415, "unsupported_media")
        grant.uploads.add(upload_id := uuid.uuid4().hex)
        return 201, orjson.dumps({"id": upload_id}), ""

    def publish(self, grant: Grant, body: bytes) -> Answer:
        """Accept a post, or meet a fault."""
        wish = read_json(body, POST_FIELDS, POST_OPTIONAL)
        profile, media = grant.targets.get(wish["profile"]), wish.get("media", [])
        if profile is None:
            raise Refused(404, "unknown_profile")
        if not wish["marker"]:
            raise Refused(400, "invalid_request", "the marker is missing")
        if not all(isinstance(one, dict) and one.keys() <= {"id", "alt"} and one.get("id") in grant.uploads for one in media):
            raise Refused(422, "content_rejected", "an image is not known")
        if (not wish["text"].strip() and not media) or len(wish["text"]) > TEXT_MAX or len(media) > MEDIA_MAX:
            raise Refused(422, "content_rejected")
        kind = self.fault(PUBLISH_FAULTS, wish["marker"], self.options.faults)
        match kind:
            case "reset" | "error_500" | "rate_limited" | "maintenance":
                return self._fail(kind)
            case "late":
                delay_s = 0.05 + (zlib.crc32(wish["marker"].encode()) % 1_000) / 1_000 * (self.options.late_s - 0.1)
                epoch = self.epoch
                asyncio.get_running_loop().call_later(delay_s, lambda: self.epoch == epoch and self._accept(profile, wish))
                raise Fault("reset")
        post = self._accept(profile, wish)
        answer = orjson.dumps({"id": post["id"], "url": None, "created_at": post["created_at"]})
        match kind:
            case "accept_reset":
                raise Fault("reset")
            case "accept_hang":
                raise Fault("hang")
            case "accept_truncated":
                raise Fault("truncated", 201, answer)
            case "accept_500":
                return self._fail("error_500")
            case "accept_broken_json":
                return 201, answer[:-2], ""
        return 201, answer, ""

    def _accept(self, profile: Profile, wish: dict[str, Any]) -> Post:
        now, text = time.time(), wish["text"]
        found = DUE.search(text)
        due = wish.get("due", float(found[1]) if found else None)
        post = {"id": uuid.uuid4().hex, "url": None, "marker": wish["marker"], "text": text, "created_at": instant(now)}
        profile.posts.append(post)
        entry = post | {"profile": profile.name, "arrived_at": now, "due": due, "media": len(wish.get("media", []))}
        self.ledger.append(entry)
        if self.file:
            self.file.write(orjson.dumps(entry) + b"\n")
        return post

    @staticmethod
    def _fail(kind: str) -> Answer:
        if kind == "reset":
            raise Fault("reset")
        if kind == "rate_limited":
            return 429, b'{"error":"rate_limited","message":"wait"}', "Retry-After: 1\r\n"
        if kind == "maintenance":
            return 503, b'{"error":"maintenance","message":"nothing was done","accepted":false}', ""
        return 500, b'{"error":"internal","message":"failed"}', ""

    def listed(self, grant: Grant, query: dict[str, str]) -> Answer:
        """List a profile's posts, newest first."""
        if not query.keys() <= {"profile", "limit", "from"}:
            raise Refused(400, "invalid_request", "unknown parameter")
        profile = grant.targets.get(query.get("profile", ""))
        if profile is None:
            raise Refused(404, "unknown_profile")
        rate = self.options.faults if self.options.list_faults is None else self.options.list_faults
        kind, now = self.fault(LIST_FAULTS, f"list {profile.name}", rate), time.time()
        if kind in {"reset", "error_500", "rate_limited"}:
            return self._fail(kind)
        if kind == "empty":
            return 200, orjson.dumps({"as_of": instant(now), "pinned": None, "posts": [], "next": None}), ""
        shown = [post for post in profile.posts if post["id"] not in self.gone] if self.gone else profile.posts
        if kind == "stale":
            now, shown = now - STALE_S, []
        limit, end = int(query.get("limit", PAGE_MAX)), int(query.get("from", len(shown)))
        start = max(0, end - min(limit, PAGE_MAX))
        body = orjson.dumps(
            {
                "as_of": instant(now),
                "pinned": profile.pinned,
                "posts": shown[start:end][::-1],
                "next": str(start + 1) if start else None,
            }
        )
        if kind == "truncated":
            raise Fault("truncated", 200, body)
        return 200, body, ""

    def delete(self, grant: Grant, post_id: str) -> Answer:
        """Take a post out of the lists; the ledger keeps it."""
        theirs = any(post["id"] == post_id for profile in grant.targets.values() for post in profile.posts)
        if not theirs or post_id in self.gone:
            raise Refused(404, "not_found")
        self.gone.add(post_id)
        return 204, b"", ""

    def lateness(self) -> Answer:
        """Say how late the posts came that name their time."""
        late = sorted(post["arrived_at"] - post["due"] for post in self.ledger if post["due"] is not None)
        at = {name: late[int(share * (len(late) - 1))] if late else None for name, share in QUANTILES.items()}
        return 200, orjson.dumps({"count": len(late)} | at), ""

    def route(self, request: Request) -> Answer:
        """Answer one request. Raises Refused, Fault, and ValueError for what is malformed."""
        parts = urlsplit(request.url)
        name = "/posts/*" if parts.path.startswith("/posts/") else parts.path
        self.calls[f"{request.method} {name}"] += 1
        match request.method, parts.path:
            case "POST", "/token":
                return self.token(request.body)
            case "POST", "/media":
                return self.upload(self.grant(request.authorization), request.body, request.content_type)
            case "POST", "/posts":
                return self.publish(self.grant(request.authorization), request.body)
            case "GET", "/posts":
                return self.listed(self.grant(request.authorization), unique(parse_qsl(parts.query)))
            case "DELETE", path if path.startswith("/posts/"):
                return self.delete(self.grant(request.authorization), path.removeprefix("/posts/"))
            case "GET", "/_ledger":
                return 200, orjson.dumps({"posts": self.ledger, "calls": self.calls, "faults": self.faults}), ""
            case "GET", "/_lateness":
                return self.lateness()
            case "POST", "/_reset":
                self.reset()
                return 200, b"{}", ""
        raise Refused(404, "not_found")


QUANTILES = {"min_s": 0.0, "p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99, "max_s": 1.0}


async def serve(options: Options, port: int) -> None:
    """Serve until SIGTERM or SIGINT; print READY and the port once it listens."""
    network, loop, stop = Network(options), asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(
        lambda: Wire(network.route, options.hang_s), "127.0.0.1", port, backlog=4096, reuse_address=True
    )
    print(f"READY {server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201  # the parent waits for it
    await stop.wait()
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="tests.fakes.network", description="A fake of the sandbox network.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0, help="share of calls that meet a fault, 0 to 1")
    parser.add_argument("--list-faults", type=float, help="the same for lists alone; default: as --faults")
    parser.add_argument("--late-s", type=float, default=2.0, help="longest delay of a late acceptance")
    parser.add_argument("--hang-s", type=float, default=15.0, help="how long an unanswered call is held open")
    parser.add_argument("--token-life-s", type=int, default=3_600)
    given = vars(parser.parse_args())
    port = given.pop("port")
    uvloop.run(serve(Options(**given), port))


if __name__ == "__main__":
    main()
