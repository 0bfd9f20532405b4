"""Secrets given where the document names none: at the authorization server, and in the forms of people's pages."""

from typing import Any

import httpx2

from api.rate_limits import RateLimits
from tests.applications.flow import FORM, register, workspace_of
from tests.conftest import Platform, TestAgency, client_of
from tests.people.people import browser, join, make_person, signed_in
from tests.rights.net import Net


async def authority(platform: Platform, net: Net, agency: TestAgency) -> None:
    """Go the way of an application with every secret once right, again when it is used up, and once wrong."""
    database, room = platform.context.database, workspace_of(agency)
    user = await make_person(database, "ben@first.example")
    await join(database, agency, user, "admin")
    application = await register(platform.app, agency, confidential=True)
    net.planted |= {"secret of an application": application.secret or "", "verifier": application.verifier}
    ben = await signed_in(platform.app, database, user, agency)
    async with ben, application.door as door:
        code = await application.consented(ben, [room])
        told = (await application.exchange(code)).json()
        net.planted |= {"code of a consent": code, "token": told["access_token"], "refresh": told["refresh_token"]}
        async with client_of(platform.app, told["access_token"]) as client:
            net.keep(await client.get(f"/v1/workspaces/{room}/posts"))
            net.keep(await client.post(f"/v1/workspaces/{room}/posts", json={}))
        net.planted["next token"] = (await application.refresh(told["refresh_token"])).json()["access_token"]
        net.keep(await application.post("introspect", token=told["access_token"]))
        net.keep(await application.exchange(code))  # a code that comes twice ends its family
        net.keep(await application.refresh(told["refresh_token"]))
        net.keep(await application.post("revoke", token=told["access_token"]))
        wrong: dict[str, dict[str, str]] = {
            "token": {"grant_type": "authorization_code", "code": "code", "code_verifier": "verifier of nobody"},
            "token ": {"grant_type": "refresh_token", "refresh_token": "refresh of nobody"},
            "introspect": {"token": "introspected"},
            "revoke": {"token": "revoked"},
            "par": {"response_type": "code", "state": "pushed", "code_challenge": "challenge"},
        }
        for path, values in wrong.items():
            given = {name: value if name.endswith("type") else net.plant(f"{path}{name}") for name, value in values.items()}
            net.keep(await application.post(path.strip(), **given))
            known = given | {"client_id": application.client_id, "client_secret": net.plant("client secret")}
            for headers in (FORM, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
                text = str(httpx2.QueryParams(known))
                for body in (text, f"{text}&{text}", text + "&%ff=1"):
                    net.keep(await door.post(f"/oauth/{path.strip()}", content=body, headers=headers))
        made = net.keep(await ben.get("/v1/grants"))
        assert made.status_code == 200
        embed = await ben.post("/v1/embed-tokens", json={"workspace_id": room})
        net.planted["embed token"] = embed.json()["token"]
        async with client_of(platform.app, embed.json()["token"]) as page:
            net.keep(await page.get("/v1/members"))


async def forms(platform: Platform, net: Net) -> None:
    """Send each form with a secret that is wrong, well formed and not, with a session and without one."""
    database, password = platform.context.database, net.plant("password of cleo")
    user = await make_person(database, "cleo@first.example", password)
    wishes: dict[str, dict[str, str]] = {
        "/sign-in": {"email": "cleo@first.example", "password": "typed password"},
        "/second-factor": {"code": "typed code", "recovery_code": "typed recovery code"},
        "/sign-in/passkey": {"passkey": "typed passkey"},
        "/reset-password": {"token": "typed token", "new_password": "typed new password"},
        "/verify-email": {"token": "typed token of an e-mail"},
        "/security/confirm": {"password": "confirmed password"},
        "/security/password": {"current_password": "current password", "new_password": "next password"},
        "/security/app/confirm": {"code": "first code"},
        "/security/passkeys": {"name": "phone", "passkey": "made passkey"},
        "/invitations/nobody/join": {"name": "Cleo", "password": "joining password"},
    }
    transport: Any = browser(platform.app)
    async with transport as stranger, await signed_in(platform.app, database, user) as person:
        for client in (stranger, person):
            client.headers["Sec-Fetch-Site"] = "same-origin"
            for path, fields in wishes.items():
                platform.app.state.rate_limits = RateLimits(platform.app.state.settings)
                plain = {"name", "email"}
                form = {name: value if name in plain else net.plant(f"{path} {value}") for name, value in fields.items()}
                body = str(httpx2.QueryParams(form))
                # A token of a mail's link stands in the form that is shown again: it is the page's own address
                for text in (body, f"{body}&{body}", body + "&%ff=1"):
                    answer = await client.post(path, content=text, headers=FORM)
                    shown = {value for name, value in form.items() if name == "token"}
                    if not any(one in answer.text for one in shown):
                        net.keep(answer)
