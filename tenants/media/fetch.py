"""Fetching a file by its address, once: what arrives is stored, and the address is never asked again."""

from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from core.errors import Fault, Unprocessable
from networks.base import NetworkError, Rejected
from networks.client import Client
from tenants.media.decode import BYTES_MAX

DEADLINE_S = 30.0
"""Total, as reliability.md 5.3 has it: name, connection, and every byte."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the address said about its file."""

    filename: str
    content_type: str | None


async def fetch(client: Client, url: str, into: BinaryIO) -> Fetched:
    """Fetch `url` through the egress guard into a file. Redirects are not followed.

    Raises Unprocessable: url_not_allowed for what the guard refuses, url_unreachable for everything else that goes wrong.
    """
    try:
        answer = await client.request("GET", url, deadline_s=DEADLINE_S, max_bytes=BYTES_MAX, guarded=True)
    except Rejected as error:
        fault = Fault("/url", "url_not_allowed", "A public https:// address on port 443 is wanted.")
        raise Unprocessable(code="url_not_allowed", faults=[fault]) from error
    except NetworkError as error:
        # The client says a status only of an answer that it had to cut off.
        what = "The connection failed" if error.http_status is None else f"The file has more than {BYTES_MAX} bytes"
        raise _unreachable(f"{what}.") from error
    if answer.status != 200:
        followed = " Redirects are not followed." if 300 <= answer.status < 400 else ""
        raise _unreachable(f"The answer has the status {answer.status}.{followed}")
    into.write(answer.body)
    return Fetched(unquote(urlsplit(url).path.rpartition("/")[2]), answer.headers.get("Content-Type"))


def _unreachable(detail: str) -> Unprocessable:
    return Unprocessable(code="url_unreachable", faults=[Fault("/url", "url_unreachable", detail)])
