"""The egress guard against the bad inputs B40 to B46 of the threat list, and against names that change their mind."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from networks.base import Rejected, Unavailable
from networks.client import Client
from networks.egress import GuardedResolver, UrlNotAllowed, check_destination, check_url, is_allowed

PUBLIC = "93.184.215.14"

SCHEMES = (
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "gopher://h.com/",
    "//h.com",
    "http:\\\\h.com",
    "",
)
HOSTS = (
    # B41
    "http://127.0.0.1",
    "http://localhost",
    "https://localhost",
    "https://0.0.0.0",
    "https://[::1]",
    "https://[::]",
    "https://127.1",
    "https://2130706433",
    "https://0x7f000001",
    "https://0177.0.0.1",
    "https://0x7f.0.0.1",
    # B43
    "https://169.254.169.254",
    "https://metadata.google.internal",
    "https://100.100.100.200",
    "https://192.0.0.192",
    "https://168.63.129.16",
    "https://[fd00:ec2::254]",
    # addresses inside addresses
    "https://[::ffff:127.0.0.1]",
    "https://[::ffff:10.0.0.1]",
    "https://[64:ff9b::a9fe:a9fe]",
    "https://[64:ff9b:1::a9fe:a9fe]",
    "https://[2002:7f00:1::]",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "https://[::7f00:1]",
    "https://[fe80::1%25eth0]",
    "https://224.0.0.1",
    "https://[ff02::1]",
    # B46
    "https://user:pass@h.com",
    "https://user@h.com",
    "https://h.com:22",
    "https://h.com:25",
    "https://h.com:6379",
    "https://h.com:",
    "https://h.com:99999",
    "https://a_b.com",
    "https://h.com.",
    "https://-h.com",
    "https://h..com",
    "https://" + "a" * 300 + ".com",
    "https://" + "a." * 130 + "com",
    "https://p\u0430ypal.com",  # a Cyrillic а among Latin letters
    "https://xn--pypal-4ve.com",  # the same, written out
    "https://\uff45xample.com",
    "https://\u2460.\u2461.com",
    "https://127\u30020\u30020\u30021",
    "https://%31%32%37.0.0.1",
    "https://h.com\\@127.0.0.1",
    "https://h.com#@127.0.0.1:1/\n",
    "https://h.com/a b",
    "https://intranet",
    "https://printer.local",
    "https://",
    "https://h.com/" + "x" * 2_100,
)


@pytest.mark.parametrize("url", SCHEMES)
def test_schemes_other_than_https_are_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        check_url(url)
    assert caught.value.reason == "url_scheme"


def test_plain_http_to_a_public_host_is_a_matter_of_scheme() -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        check_url("http://example.com/")
    assert caught.value.reason == "url_scheme"


@pytest.mark.parametrize("url", HOSTS)
def test_hosts_that_are_not_plainly_public_are_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        check_url(url)
    assert caught.value.reason == "url_not_allowed"


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://example.com/a?b=c#d", "https://example.com/a?b=c"),
        ("https://EXAMPLE.com:443/", "https://example.com/"),
        ("https://münchen.de/", "https://xn--mnchen-3ya.de/"),
        ("https://пример.рф/", "https://xn--e1afmkfd.xn--p1ai/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
    ],
)
def test_public_addresses_pass(url: str, sent: str) -> None:
    assert str(check_url(url)) == sent


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/x", "http://localhost:3/", "http://[::1]:5/", "https://localhost/"])
def test_loopback_passes_where_it_is_allowed(url: str) -> None:
    assert check_url(url, allow_loopback=True)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "[fe80::1]"])
def test_allowing_loopback_allows_nothing_else(host: str) -> None:
    with pytest.raises(UrlNotAllowed):
        check_url(f"http://{host}/", allow_loopback=True)


def test_addresses_that_wrap_loopback_are_nobodys_loopback() -> None:
    assert is_allowed(ip_address("::ffff:127.0.0.1"), allow_loopback=True)
    assert not is_allowed(ip_address("64:ff9b::7f00:1"), allow_loopback=True)
    assert not is_allowed(ip_address("2002:7f00:1::"), allow_loopback=True)


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], [PUBLIC, "127.0.0.1"], [PUBLIC, "::1"], ["169.254.169.254"], ["64:ff9b::a00:1"]]
)
async def test_a_name_with_any_blocked_address_is_refused(addresses: list[str]) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return addresses

    with pytest.raises(UrlNotAllowed) as caught:
        await check_destination("https://example.com/", lookup=lookup)
    assert caught.value.reason == "blocked_address"


async def test_every_address_of_a_good_name_is_pinned() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return [PUBLIC, "2606:4700::1111"]

    found = await GuardedResolver(lookup=lookup).resolve("example.com", 443)
    assert [(one["host"], one["family"]) for one in found] == [
        (PUBLIC, socket.AF_INET),
        ("2606:4700::1111", socket.AF_INET6),
    ]


class Trap:
    """A listener on loopback that counts who comes."""

    def __init__(self) -> None:
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


async def test_a_name_that_is_public_first_and_loopback_then_reaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Trap()
    server = await asyncio.start_server(trap, "127.0.0.1", 0)
    answers = [[PUBLIC], ["127.0.0.1"]]

    async def lookup(host: str, port: int) -> list[str]:
        return answers.pop(0)

    assert await check_destination("https://rebind.example/", lookup=lookup)
    monkeypatch.setattr(
        "networks.client.GuardedResolver",
        lambda *, allow_loopback: GuardedResolver(allow_loopback=False, lookup=lookup),
    )
    # only the resolver is strict here: it alone must hold, whatever the first wall let through
    client = Client(allow_loopback=True)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Rejected) as caught:
        await client.request("GET", f"http://rebind.example:{port}/", deadline_s=2, guarded=True)
    assert (caught.value.error_code, caught.value.raw_code) == ("url_not_allowed", "blocked_address")
    assert trap.connections == 0
    assert answers == []
    await client.close()
    server.close()


async def test_a_name_without_address_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        if host == "empty.example":
            return []
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    resolver = GuardedResolver(lookup=lookup)
    monkeypatch.setattr("networks.client.GuardedResolver", lambda *, allow_loopback: resolver)
    client = Client()
    for host in ("empty.example", "gone.example"):
        with pytest.raises(Unavailable):
            await client.request("GET", f"https://{host}/", deadline_s=2, guarded=True)
    await client.close()
