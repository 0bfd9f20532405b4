"""The demo: fills the agency of `.octavo/dev.env` with a lively week, over the API, as an integrator would."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson

WORKSPACES = (
    ("Corner Bakery", "Europe/Berlin"),
    ("Harbour Fitness", "Europe/Lisbon"),
    ("Blue Kettle Tea", "Asia/Tokyo"),
)
HANDLES = (
    "always_ok", "slow", "rate_limited", "token_expired", "token_revoked", "rejects_content", "down",
    "ambiguous_published", "ambiguous_absent", "late_visible", "duplicate_error", "blind",
)  # fmt: skip
TEXTS = (
    "Monday starts with a smile and something warm.",
    "Behind the scenes: how we choose what we offer.",
    "A question for you: mornings or evenings?",
    "Three things our regulars taught us this year.",
    "Today only: bring a friend, and the second one is on us.",
    "Meet the people who make this place what it is.",
    "Sunday is for slow hours. See you tomorrow.",
)
DEADLINE_S = 30


def _environment() -> dict[str, str]:
    path = Path(os.environ.get("OCTAVO_HOME", ".octavo")) / "dev.env"
    if not path.exists():
        sys.exit(f"{path} is not there: start `make run` first")
    lines = (line.removeprefix("export ").partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("'\"") for name, _, value in lines}


class Client:
    """The few calls that the demo makes."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST and read the answer; an error ends the demo with its text."""
        request = Request(  # noqa: S310  # the URL is our own service's
            self.url + path,
            data=orjson.dumps(body),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310  # as above
            read: dict[str, Any] = orjson.loads(answer.read())
            return read


def fill() -> None:
    """Make workspaces, accounts of every behaviour of the sandbox, and a week of posts around today."""
    own = _environment()
    client = Client(own["OCTAVO_URL"], own["OCTAVO_API_KEY"])
    for name, zone in WORKSPACES:
        workspace = client.post("/v1/workspaces", {"name": name, "time_zone": zone})["id"]
        accounts = []
        for handle in HANDLES:
            body = {"network": "sandbox", "credentials": {"handle": handle}, "targets": "all"}
            accounts += [each["id"] for each in client.post(f"/v1/workspaces/{workspace}/connect-sessions", body)["accounts"]]
        path = f"/v1/workspaces/{workspace}/posts"
        for account in accounts:
            client.post(path, {"text": TEXTS[0], "account_ids": [account], "schedule": "now"})
        for day, text in enumerate(TEXTS):
            at = (datetime.now(UTC) + timedelta(days=day + 1)).strftime("%Y-%m-%dT09:00:00")
            body = {"text": text, "account_ids": accounts[:4], "schedule": {"at": at, "time_zone": zone}}
            client.post(path, body | {"metadata": {"week": "demo"}})
        client.post(path, {"text": "An idea that waits for its day.", "account_ids": accounts[:2]})
        sys.stdout.write(f"{name}: {len(accounts)} accounts, {len(accounts) + len(TEXTS) + 1} posts ({workspace})\n")
