"""Connecting in the audit log: who did it, and no secret of any kind."""

from tests.accounts.conftest import Caller, Worker
from tests.accounts.scripted import Scripted
from tests.accounts.test_redirect import URI, back, begin

ENTRIES = "select action, actor_type, t::text whole from audit_entries t order by id"


async def test_no_credential_token_code_or_state_is_in_the_log(caller: Caller, worker: Worker, scripted: Scripted) -> None:
    # Given an account that is connected by password, by redirect, and again
    canary = "canary-in-a-password"
    refused = await caller.call(
        "POST", "connect-sessions", {"network": "scripted", "credentials": {"login": "bakery", "password": canary}}
    )
    assert refused.status_code == 422
    account = await caller.account("bakery")
    path = f"accounts/{account['id']}/reconnect"
    await caller.call("POST", path, {"credentials": {"login": "bakery", "password": "right"}})
    _, state = await begin(caller)
    code = scripted.agree("butcher", URI)
    assert (await back(caller, code=code, state=state)).status_code == 200
    # Then each is told once, and the one that came back by who came: the session
    rows = await worker.owner.fetch(ENTRIES)
    assert [(row["action"], row["actor_type"]) for row in rows] == [
        ("connect_session.create", "key"),
        ("account.reconnect", "key"),
        ("connect_session.create", "key"),
        ("connect_session.complete", "connect_session"),
    ]
    whole = " ".join(row["whole"] for row in rows)
    sealed = [row["sealed"].hex() for row in await worker.owner.fetch("select sealed from connections where sealed is not null")]
    secrets = [canary, "right", code, state, state.rpartition(".")[2], *sealed]
    assert [secret for secret in secrets if secret in whole] == []
    assert "access" not in whole
    assert "refresh" not in whole
