"""The matrix: every operation, every slot of it, every caller, with the ids of somebody else and with ids of nothing."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.walls.callers import Caller
from tests.walls.slots import Operation, Slot
from tests.walls.things import Things, never

VARYING = re.compile(r"^(request-id|content-length|date|ratelimit.*)$")
STATUS = {"refused": 401, "forbidden": 403}
"""What callers are answered with, whatever they ask for."""
OF_ALL = {"rol"}
"""Prefixes of what belongs to the whole agency: a caller that is bound to other workspaces of it may name it, and not change it."""
LISTED_FOR_ALL = "/v1/roles"
Answer = tuple[int, str, dict[str, str]]


def same(answer: httpx2.Response) -> Answer:
    """An answer, less what differs by right: the request's id and what is left of a limit."""
    headers = {name: value for name, value in answer.headers.items() if not VARYING.match(name)}
    return answer.status_code, re.sub(r'"request_id":"[^"]*"', "", answer.text), headers


def slotted(operation: Operation, slot: Slot, own: Things, whose: Things) -> dict[str, Any]:
    """A request among one's own things, with somebody's in one slot."""
    request: dict[str, Any] = {"path": operation.fill(own.ids), "body": operation.body(own.ids)}
    match slot.place:
        case "path":
            request["path"] = operation.fill(own.ids, {slot.name[0]: whose.ids[slot.prefix]})
        case "query":
            request["query"] = {slot.name[0]: whose.ids[slot.prefix]}
        case "cursor":
            request["query"] = {"cursor": whose.cursor, "limit": "1"}
        case "body":
            request["body"] = operation.body(own.ids, slot, whose.ids[slot.prefix])
        case "header":
            request["headers"] = {slot.name[0]: whose.once if slot.name[0] == "Idempotency-Key" else '"1"'}
    return request


@dataclass
class Matrix:
    """What was tried, and what leaked. `things` are the victim's; `filters`: the application's own are on."""

    client: httpx2.AsyncClient
    things: Things
    filters: bool = True
    cells: Counter[str] = field(default_factory=Counter)
    tried: set[tuple[str, str, str]] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)

    @property
    def nobody(self) -> Things:
        """Things that never were."""
        return Things(never(), "A" * len(self.things.cursor), "once-for-nobody", "")

    async def ask(
        self, caller: Caller, operation: Operation, *, path: str, body: Any, headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Send one request. Words that only the victim may read are a leak wherever they stand."""
        sent = caller.headers | (headers or {})
        if caller.authorization is not None:
            sent["Authorization"] = caller.authorization
        if operation.method == "PATCH":
            sent.setdefault("If-Match", "*")
        content = {"content": body} if isinstance(body, str) else {"json": body}
        if operation.kind is not None:
            sent["Content-Type"] = operation.kind
        answer = await self.client.request(operation.method, path, params=query, headers=sent, **content)
        tells = self.things.secret in answer.text and caller.kind != "own"
        if tells and not (caller.inside and operation.path == LISTED_FOR_ALL):
            self.leaks.append(f"{caller.name}: {operation.id} {path} tells the secret")
        return same(answer)

    def count(self, caller: Caller, operation: Operation, slot: Slot | None, right: bool, seen: Any) -> None:
        """Note what was tried, and whether it was answered as it must be."""
        self.cells[slot.place if slot else "none"] += 1
        self.tried.add((operation.id, caller.name, str(slot)))
        if not right:
            self.leaks.append(f"{caller.name}: {operation.id} {slot} answered {seen}"[:600])

    async def pair(
        self, caller: Caller, operation: Operation, slot: Slot | None, requests: list[dict[str, Any]], status: int | None = None
    ) -> Answer:
        """Send the victim's request and that of nothing: any difference is a leak, and so is another `status`."""
        answers = [await self.ask(caller, operation, **one) for one in requests]
        right = answers[0] == answers[1] and status in {None, answers[0][0]}
        self.count(caller, operation, slot, right, answers)
        return answers[0]

    async def stopped(self, caller: Caller, operation: Operation) -> None:
        """A caller without a good key, or without the permission, learns nothing from anything in any slot."""
        nobody, status = self.nobody, STATUS[caller.kind]
        requests = [{"path": operation.fill(one.ids), "body": operation.body(one.ids)} for one in (self.things, nobody)]
        await self.pair(caller, operation, None, requests, status)
        for slot in operation.slots:
            requests = [slotted(operation, slot, self.things, one) for one in (self.things, nobody)]
            await self.pair(caller, operation, slot, requests, status)

    async def astray(self, caller: Caller, operation: Operation) -> None:
        """A caller with a good key and things of its own: each slot by itself, then the whole path with each header."""
        assert caller.own is not None
        nobody = self.nobody
        if not self.filters and caller.kind == "own":
            return  # row-level security knows who calls, and not by way of which workspace
        for slot in operation.slots:
            if slot.place == "header" or (caller.kind == "own" and is_agencys(operation, slot)):
                continue
            if caller.inside and slot.prefix in OF_ALL:
                continue
            if not self.filters and slot.prefix == "wsp" and len(operation.of("path")) > 1 and slot.place == "path":
                continue  # what the path ends in is the caller's own
            requests = [slotted(operation, slot, caller.own, one) for one in (self.things, nobody)]
            answer = await self.pair(caller, operation, slot, requests, 404 if slot.place == "path" else None)
            if slot.place in {"body", "cursor"} and operation.id != "validate_post":
                self.count(caller, operation, slot, answer[0] >= 400 or '"succeeded":0' in answer[1], answer)
        if operation.of("path") and caller.kind == "stranger" and not (caller.inside and operation.of("path")[-1].prefix in OF_ALL):
            for slot in (operation.of("path")[-1], *operation.of("header")):
                requests = [slotted(operation, slot, one, one) for one in (self.things, nobody)]
                await self.pair(caller, operation, slot, requests, 404)

    async def by_name(self, caller: Caller, operation: Operation) -> None:
        """What has no ids in its path is one's own to do, with somebody's Idempotency-Key as with any other."""
        assert caller.own is not None
        for slot in operation.of("header") if caller.kind == "stranger" else ():
            requests = [slotted(operation, slot, caller.own, whose) for whose in (self.things, self.nobody)]
            answers = [await self.ask(caller, operation, **one) for one in requests]
            right = answers[0][0] == answers[1][0] and "idempotent-replayed" not in answers[0][2]
            self.count(caller, operation, slot, right, answers)
        if not operation.slots:
            answer = await self.ask(caller, operation, path=operation.fill(caller.own.ids), body=None)
            self.count(caller, operation, None, answer[0] == 200, answer)


def is_agencys(operation: Operation, slot: Slot) -> bool:
    """Say whether a tenant reaches this by way of any workspace: workspaces themselves, keys, operations, and its lists."""
    inside = any(one.prefix == "wsp" for one in operation.of("path"))
    return not inside or slot.prefix in {"wsp", "key", "opr", "mem", "rol", "inv", "app", "grt"} or slot.place == "cursor"
