"""What the events of accounts carry."""

from pydantic import Field

from core.wire import Output


class AccountEvent(Output):
    """What became of an account."""

    network: str = Field(examples=["sandbox"])
    state: str = Field(description="The state that it has now. The set is open.", examples=["active"])
    reason: str | None = Field(None, description="Why, where there is more to say.", examples=["token_expiring"])


EVENTS: dict[str, tuple[type[Output], str]] = {
    "account.connected": (AccountEvent, "An account was connected."),
    "account.reconnected": (AccountEvent, "An account was authorised anew: what waited for it is released."),
    "account.active": (AccountEvent, "The authorisation of an account was renewed before its end."),
    "account.expiring": (AccountEvent, "The authorisation of an account ends soon and cannot be renewed without a person."),
    "account.needs_reconnect": (AccountEvent, "The authorisation of an account is lost, proven: a person must reconnect it."),
    "account.updated": (AccountEvent, "The name or the metadata of an account was changed."),
    "account.paused": (AccountEvent, "An account was paused: nothing goes out to it."),
    "account.resumed": (AccountEvent, "The pause of an account ended."),
    "account.disconnected": (AccountEvent, "An account was disconnected; its history stays."),
}
"""Type -> the shape of its `data`, and what it tells. A test holds it against every event that is emitted."""
