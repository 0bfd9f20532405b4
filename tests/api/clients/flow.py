"""The main flow through the generated Python client. Run by tests/api/test_clients.py, never imported."""

import os
import sys

from octavo_client import AuthenticatedClient
from octavo_client.api.accounts import create_connect_session
from octavo_client.api.posts import create_post, get_post, list_posts
from octavo_client.models import (
    ConnectSessionCreate,
    ConnectSessionRead,
    ErrorCode,
    PostCreate,
    PostList,
    PostRead,
    Problem,
)
from octavo_client.types import UNSET

WORKSPACE = os.environ["OCTAVO_WORKSPACE"]
NOWHERE = "pst_01kazm3v9sfa4t2tq9gk1x7c5e"
CREATED, OK, NOT_FOUND, UNPROCESSABLE = 201, 200, 404, 422

client = AuthenticatedClient(base_url=os.environ["OCTAVO_URL"], token=os.environ["OCTAVO_API_KEY"], timeout=30)


def connect():
    body = ConnectSessionCreate.from_dict({"network": "sandbox", "credentials": {"handle": "always_ok"}, "targets": "all"})
    session = create_connect_session.sync(WORKSPACE, client=client, body=body)
    assert isinstance(session, ConnectSessionRead), session
    assert session.state == "completed"
    return session.accounts[0].id


def publish(account):
    """Create with a key, and again: the same post, and it says so."""
    body = PostCreate(account_ids=[account], text="Fresh rolls from six o'clock.", schedule="now")
    first, again = (create_post.sync_detailed(WORKSPACE, client=client, body=body, idempotency_key="rolls-1") for _ in range(2))
    assert (first.status_code, again.status_code) == (CREATED, CREATED)
    assert isinstance(first.parsed, PostRead)
    assert isinstance(again.parsed, PostRead)
    assert first.parsed.id == again.parsed.id
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["location"].endswith(first.parsed.id)
    return first.parsed.id


def walk(account, published):
    """Five posts, two on a page."""
    made = {published}
    for number in range(4):
        post = create_post.sync(WORKSPACE, client=client, body=PostCreate(account_ids=[account], text=f"Draft {number}"))
        assert isinstance(post, PostRead), post
        made.add(post.id)
    seen, pages, cursor = [], 0, UNSET
    while cursor is not None:
        page = list_posts.sync(WORKSPACE, client=client, limit=2, cursor=cursor)
        assert isinstance(page, PostList), page
        seen += [post.id for post in page.data]
        pages, cursor = pages + 1, page.next_cursor
    assert (pages, len(seen), set(seen)) == (3, 5, made)


def refusals():
    """Errors are typed, and a code from the future is no accident."""
    missing = get_post.sync_detailed(WORKSPACE, NOWHERE, client=client)
    assert missing.status_code == NOT_FOUND
    assert isinstance(missing.parsed, Problem)
    assert missing.parsed.code is ErrorCode.NOT_FOUND
    invalid = create_post.sync_detailed(WORKSPACE, client=client, body=PostCreate(account_ids=[]))
    assert invalid.status_code == UNPROCESSABLE
    assert isinstance(invalid.parsed, Problem)
    assert invalid.parsed.code is ErrorCode.VALIDATION_FAILED
    assert invalid.parsed.errors[0].pointer == "/account_ids"
    later = Problem.from_dict(missing.parsed.to_dict() | {"code": "from_the_future"})
    assert later.code == "from_the_future"


def main():
    account = connect()
    published = publish(account)
    walk(account, published)
    refusals()
    sys.stdout.write("WORK\n")
    sys.stdout.flush()
    sys.stdin.readline()
    post = get_post.sync(WORKSPACE, published, client=client)
    assert isinstance(post, PostRead)
    publication = post.publications[0]
    assert (post.delivery, publication.state) == ("published", "published")
    assert publication.external_url
    sys.stdout.write("DONE\n")


with client:
    main()
