"""An OpenID provider on loopback that says whatever a test wants it to say, also what no honest one would."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvicorn
from fastapi import FastAPI, Request
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from core.clock import seconds

CLIENT = {"client_id": "octavo", "client_secret": "only-for-tests-of-sign-on"}


@dataclass
class Provider:
    """The provider: what it was asked, and what it says. `spoil` changes claims (None takes one away)."""

    issuer: str
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    other_key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    """What changes in its description of itself."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The bodies that its token endpoint got, each with the `authorization` that came with it."""
    algorithm: str = "RS256"
    forged: bool = False

    def agree(self, url: str, email: str, subject: str = "subject-1", **spoil: Any) -> dict[str, str]:
        """Be the person there, who agrees; returns what the way back carries."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self.codes)}"
        moment = int(seconds())
        self.codes[code] = {
            "iss": self.issuer, "aud": query["client_id"], "sub": subject, "nonce": query["nonce"], "iat": moment,
            "exp": moment + 300, "email": email, "email_verified": True, **spoil,
        }  # fmt: skip
        return {"state": query["state"], "code": code, "iss": self.issuer}

    def token(self, code: str) -> dict[str, Any]:
        """Give the id token of a code, once."""
        claims = {name: value for name, value in self.codes.pop(code).items() if value is not None}
        if self.algorithm == "none":
            parts = (urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({"alg": "none"}, claims))
            return self._answer(".".join(parts) + ".")
        if self.algorithm == "HS256":
            secret = OctKey.import_key(CLIENT["client_secret"])
            return self._answer(jwt.encode({"alg": "HS256", "kid": "one"}, claims, secret))
        return self._answer(jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.other_key if self.forged else self.key))

    def _answer(self, id_token: str) -> dict[str, Any]:
        return {"access_token": "a", "token_type": "Bearer", "id_token": id_token}


@asynccontextmanager
async def openid_provider(port: int) -> AsyncIterator[Provider]:
    """Serve one until the block ends."""
    own = Provider(f"http://127.0.0.1:{port}")
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    async def describe() -> dict[str, Any]:
        names = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "jwks", "userinfo_endpoint": "me"}
        urls = {name: f"{own.issuer}/{path}" for name, path in names.items()}
        return {"issuer": own.issuer, "authorization_response_iss_parameter_supported": True, **urls, **own.told}

    @app.get("/jwks")
    async def keys() -> dict[str, Any]:
        return {"keys": [own.key.as_dict(private=False)]}

    @app.post("/token")
    async def token(request: Request) -> dict[str, Any]:
        body = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        own.asked.append(body | {"authorization": request.headers.get("authorization", "")})
        return own.token(body["code"])

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # pytest's own stay
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield own
    server.should_exit = True
    await task
