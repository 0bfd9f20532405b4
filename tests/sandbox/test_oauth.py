"""The generic parts of the redirect kind that need no server. The whole of it runs against a certified one elsewhere."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from networks.base import Forbidden, NetworkError, RateLimited, Rejected, Unauthorized, Uncertain
from networks.client import Answer
from networks.oauth import OAuthServer, authorize_url, basic_authorization, check_issuer, id_claims, raise_token_error

SERVER = OAuthServer(
    "https://id.test/auth?tenant=1", "https://id.test/token", "https://id.test/me", "a:b", "p w", "https://id.test"
)


def test_the_address_carries_state_and_an_s256_challenge() -> None:
    begun = authorize_url(SERVER, "https://octavo.test/cb?x=1", "s&t", "openid profile")
    query = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query, strict_parsing=True).items()}
    digest = hashlib.sha256(begun.code_verifier.encode()).digest()
    assert query == {
        "tenant": "1",
        "response_type": "code",
        "client_id": "a:b",
        "redirect_uri": "https://octavo.test/cb?x=1",
        "scope": "openid profile",
        "state": "s&t",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    assert 43 <= len(begun.code_verifier) <= 128
    assert authorize_url(SERVER, "https://octavo.test/cb", "s", "x").code_verifier != begun.code_verifier


def test_both_parts_of_the_client_credentials_are_encoded() -> None:
    assert base64.b64decode(basic_authorization(SERVER).removeprefix("Basic ")) == b"a%3Ab:p%20w"
    assert "p w" not in repr(SERVER)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "invalid_grant", Unauthorized),
        (401, "invalid_client", Forbidden),
        (400, "invalid_request", Rejected),
        (401, None, Unauthorized),
        (429, None, RateLimited),
        (500, "invalid_grant_but_longer", Uncertain),
        (503, None, Uncertain),
        (302, None, Uncertain),
    ],
)
def test_errors_of_the_token_endpoint(status: int, code: str | None, error: type[NetworkError]) -> None:
    with pytest.raises(error) as caught:
        raise_token_error(Answer(status, {}, b""), {"error": code})
    assert type(caught.value) is error


def test_other_issuers_are_refused() -> None:
    check_issuer(SERVER, None)
    check_issuer(SERVER, "https://id.test")
    with pytest.raises(Unauthorized):
        check_issuer(SERVER, "https://id.test/")


@pytest.mark.parametrize("token", ["", "a", "a.!.c", "a." + base64.b64encode(b"[]").decode() + ".c", None])
def test_unreadable_id_tokens_prove_nothing(token: object) -> None:
    with pytest.raises(Uncertain):
        id_claims(token)


def test_id_tokens_are_read_without_padding() -> None:
    payload = base64.urlsafe_b64encode(orjson.dumps({"sub": "ü"})).decode().rstrip("=")
    assert id_claims(f"h.{payload}.s") == {"sub": "ü"}
