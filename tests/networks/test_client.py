"""The client against a server that behaves badly on purpose: what is surely unsent, what is not, what is bounded."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from networks.base import Rejected, Unavailable, Uncertain
from networks.client import Client, retry_after

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'

Behaviour = Callable[[asyncio.StreamWriter, int], Awaitable[bool]]
"""What to do with one request, given how many came before on this server; False ends the connection."""


class Server:
    """Speaks just enough HTTP: reads whole requests, keeps them, and lets the behaviour answer."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.behaviour: Behaviour = answer_well
        self.url = ""

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            going = True
            while going:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                self.requests.append(head + (await reader.readexactly(int(length[1])) if length else b""))
                going = await self.behaviour(writer, len(self.requests))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def answer_well(writer: asyncio.StreamWriter, number: int) -> bool:
    writer.write(OK)
    await writer.drain()
    return True


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.connection, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield server
    listener.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client(allow_loopback=True)
    yield client
    await client.close()


def answering(raw: bytes, *, then_go_on: bool = False) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(raw)
        await writer.drain()
        return then_go_on

    return behave


async def test_what_is_sent_and_what_comes_back(server: Server, client: Client) -> None:
    answer = await client.request(
        "POST", f"{server.url}/a", json={"text": "é"}, headers={"X-One": "1"}, params={"q": "a b"}, deadline_s=2
    )
    assert (answer.status, answer.json(), answer.headers["content-type"]) == (200, {"ok": True}, "application/json")
    head, body = server.requests[0].split(b"\r\n\r\n")
    assert head.startswith((b"POST /a?q=a+b HTTP/1.1", b"POST /a?q=a%20b HTTP/1.1"))
    assert b"X-One: 1" in head
    assert b"Content-Type: application/json" in head
    assert body == '{"text":"é"}'.encode()
    await client.request("POST", server.url, form={"a": "b c"}, deadline_s=2)
    assert server.requests[1].endswith(b"\r\n\r\na=b+c")
    await client.request("POST", server.url, data=b"\x00\x01", headers={"Content-Type": "image/png"}, deadline_s=2)
    assert server.requests[2].endswith(b"\r\n\r\n\x00\x01")
    assert server.connections == 1


async def test_nobody_listens_is_unavailable(client: Client) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for guarded in (False, True):
            with pytest.raises(Unavailable):
                await client.request(
                    "POST", f"http://127.0.0.1:{taken.getsockname()[1]}/", data=b"x", deadline_s=2, guarded=guarded
                )


async def test_no_tls_on_the_other_side_is_unavailable(server: Server, client: Client) -> None:
    with pytest.raises(Unavailable):
        await client.request("POST", server.url.replace("http", "https"), data=b"x", deadline_s=2, guarded=True)
    assert server.requests == []


async def test_a_deadline_before_the_connection_is_unavailable(client: Client) -> None:
    # a full backlog: the kernel lets the connection wait
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable):
            await client.request("POST", f"http://127.0.0.1:{deaf.getsockname()[1]}/", data=b"x", deadline_s=0.3)
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ok"\r\n',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
    ids=["before", "in the head", "in the body", "in a chunk", "bad chunk", "not http", "huge header"],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_cut_answer_is_uncertain_and_nothing_is_sent_twice(server: Server, client: Client, method: str, raw: bytes) -> None:
    server.behaviour = answering(raw)
    with pytest.raises(Uncertain):
        await client.request(method, server.url, data=b"x" if method == "POST" else None, deadline_s=2)
    assert len(server.requests) == 1


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"], ids=["no answer", "half an answer"])
async def test_a_stalled_answer_is_uncertain_at_the_deadline(server: Server, client: Client, raw: bytes) -> None:
    async def stall(writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(raw)
        await asyncio.sleep(5)
        return False

    server.behaviour = stall
    began = time.monotonic()
    with pytest.raises(Uncertain):
        await client.request("POST", server.url, data=b"x", deadline_s=0.3)
    assert 0.25 < time.monotonic() - began < 1.5


async def test_a_dripping_answer_ends_at_the_deadline(server: Server, client: Client) -> None:
    async def drip(writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)
        return False

    server.behaviour = drip
    with pytest.raises(Uncertain):
        await client.request("GET", server.url, deadline_s=0.3)


async def test_an_oversized_answer_is_cut(server: Server, client: Client) -> None:
    async def flood(writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"x" * 65_536)
            await writer.drain()
        return False

    server.behaviour = flood
    with pytest.raises(Uncertain, match="longer"):
        await client.request("GET", server.url, deadline_s=5, max_bytes=100_000)


async def test_compressed_answers_are_not_unpacked(server: Server, client: Client) -> None:
    server.behaviour = answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
    answer = await client.request("GET", server.url, deadline_s=2)
    assert answer.body == b"abc"
    with pytest.raises(Uncertain):
        answer.json()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_answers(server: Server, client: Client, status: int) -> None:
    location = f"Location: {server.url}/elsewhere"
    server.behaviour = answering(f"HTTP/1.1 {status} Go\r\n{location}\r\nContent-Length: 0\r\n\r\n".encode())
    answer = await client.request("GET", server.url, deadline_s=2, guarded=True)
    assert answer.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_kept_connection_that_the_server_closes_is_not_used_again_for_the_same_request(
    server: Server, client: Client, method: str
) -> None:
    async def once(writer: asyncio.StreamWriter, number: int) -> bool:
        if number == 1:
            writer.write(OK)
            return True
        return False  # takes the second request and closes without a word

    server.behaviour = once
    await client.request("GET", server.url, deadline_s=2)
    with pytest.raises(Uncertain):
        await client.request(method, server.url, deadline_s=2)
    assert (len(server.requests), server.connections) == (2, 1)


async def test_a_connection_that_was_closed_while_idle_is_replaced(server: Server, client: Client) -> None:
    server.behaviour = answering(OK)
    for _ in range(2):
        assert (await client.request("POST", server.url, data=b"x", deadline_s=2)).status == 200
        await asyncio.sleep(0.05)
    assert (len(server.requests), server.connections) == (2, 2)


async def test_cookies_are_not_kept(server: Server, client: Client) -> None:
    server.behaviour = answering(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"), then_go_on=True)
    await client.request("GET", server.url, deadline_s=2)
    await client.request("GET", server.url, deadline_s=2)
    assert b"a=b" not in server.requests[1]


async def test_proxies_of_the_environment_are_not_used(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await client.request("GET", server.url, deadline_s=2)).status == 200


async def test_cancelling_passes_through(server: Server, client: Client) -> None:
    async def stall(writer: asyncio.StreamWriter, number: int) -> bool:
        await asyncio.sleep(5)
        return False

    server.behaviour = stall
    task = asyncio.create_task(client.request("POST", server.url, data=b"x", deadline_s=4))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_guard_stands_before_guarded_calls_only(server: Server) -> None:
    strict = Client()
    with pytest.raises(Rejected) as caught:
        await strict.request("GET", server.url, deadline_s=2, guarded=True)
    assert (caught.value.error_code, caught.value.raw_code) == ("url_not_allowed", "url_not_allowed")
    assert (await strict.request("GET", server.url, deadline_s=2)).status == 200
    await strict.close()


async def test_headers_cannot_be_injected(server: Server, client: Client) -> None:
    with pytest.raises((Unavailable, Uncertain)):
        await client.request("GET", server.url, headers={"Authorization": "Bearer a\r\nX: y"}, deadline_s=2)
    assert server.requests == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", NOW + timedelta(seconds=120)),
        ("0", NOW),
        ("999999999", NOW + timedelta(hours=24)),
        ("Tue, 24 Nov 2026 12:05:00 GMT", NOW + timedelta(minutes=5)),
        ("Tue, 24 Nov 2026 11:00:00 GMT", NOW),
        ("Fri, 01 Jan 2100 00:00:00 GMT", NOW + timedelta(hours=24)),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("१२", None),
    ],
)
def test_retry_after(value: str, expected: datetime | None) -> None:
    assert retry_after({"Retry-After": value}, NOW) == expected


def test_retry_after_may_be_missing() -> None:
    assert retry_after({}, NOW) is None
