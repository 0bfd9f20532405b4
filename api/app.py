"""The application: what it holds, and every router."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import health, problems
from api.body import StrictRoute
from api.document import about, build
from api.idempotency import Replay
from api.inbound import connect, sandbox
from api.middleware import Edge
from api.oauth import discovery, endpoints, registration
from api.pages import errors, guides, reference
from api.pages.people import connect as connect_page
from api.pages.people import consent as consent_page
from api.pages.people import invitation as invitation_page
from api.pages.people import mail_links as mail_links_page
from api.pages.people import second_factor as second_factor_page
from api.pages.people import security as security_page
from api.pages.people import sessions as sessions_page
from api.pages.people import shared as shared_page
from api.pages.people import sign_in as sign_in_page
from api.pages.people import sign_on as sign_on_page
from api.rate_limits import RateLimits
from api.v1 import (
    accounts,
    agency,
    applications,
    audit,
    bulk,
    closures,
    connect_sessions,
    email,
    events,
    exports,
    grants,
    identity_providers,
    invitations,
    keys,
    media,
    members,
    networks,
    operations,
    posts,
    publications,
    roles,
    second_factors,
    sessions,
    share_links,
    workspaces,
)
from core.crypto import KeyRing
from core.db import Database
from core.settings import Settings, listed
from core.store import open_store
from core.windows import shared
from networks import connectors
from networks.client import Client
from tenants.people.house import House
from tenants.people.passwords import Passwords

V1 = (
    posts,
    publications,
    workspaces,
    accounts,
    media,
    connect_sessions,
    events,
    operations,
    bulk,
    networks,
    keys,
    agency,
    members,
    roles,
    invitations,
    sessions,
    second_factors,
    email,
    identity_providers,
    audit,
    applications,
    grants,
    share_links,
    exports,
    closures,
)
"""In the order in which they are asked for: routes are matched one after another."""
PEOPLE = (
    sign_in_page,
    second_factor_page,
    mail_links_page,
    invitation_page,
    sessions_page,
    security_page,
    consent_page,
    connect_page,
    shared_page,
    sign_on_page,
)
"""Pages on which people act."""


def operation_id(route: APIRoute) -> str:
    """Operation ids are the functions' names: readable in every generated client."""
    return route.name


def create_app(settings: Settings) -> FastAPI:
    """Build the application for `settings`. Connections are opened when it starts and closed when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = Client(allow_loopback=settings.egress_allow_loopback)
        app.state.database = Database(settings)
        app.state.client = client
        app.state.networks = connectors(client, settings)
        app.state.store = open_store(settings)
        app.state.passwords = Passwords()
        app.state.ring = KeyRing(settings.encryption_keys.get_secret_value())
        app.state.house = House.of(settings, app.state.ring)
        async with AsyncExitStack() as running:
            if settings.effective_redis_url is not None:
                await running.enter_async_context(shared(app.state.rate_limits.windows, settings.effective_redis_url))
            yield
        await client.close()
        await app.state.database.close()
        await health.close(app)

    app = FastAPI(
        title="Octavo",
        version=about.VERSION,
        description=about.DESCRIPTION.strip(),
        openapi_tags=about.TAGS,
        servers=[{"url": settings.public_url}],
        lifespan=lifespan,
        generate_unique_id_function=operation_id,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.settings = settings
    app.state.pages = {}
    app.state.rate_limits = RateLimits(settings)
    app.router.route_class = StrictRoute
    for module in V1:
        app.include_router(module.router)
    for router in (health.router, sandbox.router, connect.router, reference.router, guides.router, errors.router):
        app.include_router(router)
    for part in (endpoints, discovery, registration):
        app.include_router(part.router)
    for page in PEOPLE:
        app.include_router(page.router)
    problems.install(app)
    build.install(app)

    async def replay(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Replay)
        return error.response

    app.add_exception_handler(Replay, replay)
    app.add_middleware(
        Edge,
        allowed_hosts=settings.allowed_hosts.split(","),
        origins=listed(settings.cors_origins),
        deadline_s=settings.request_deadline_s,
    )
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=listed(settings.trusted_proxies))
    return app
