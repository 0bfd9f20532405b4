"""The social networks. This module is the one list of them; everything else here knows nothing of its neighbours."""

from datetime import timedelta

from core.settings import Settings
from networks.base import Network
from networks.bluesky import Bluesky
from networks.client import Client
from networks.oauth import OAuthServer
from networks.sandbox import Sandbox


def connectors(client: Client, settings: Settings) -> dict[str, Network]:
    """Make every connector once, by its name. Makes no calls."""
    return {
        "sandbox": Sandbox(
            client,
            base_url=settings.effective_sandbox_url,
            oauth=_sandbox_oauth(settings),
            settle=timedelta(seconds=settings.sandbox_settle_s),
            deadline=timedelta(seconds=settings.sandbox_deadline_s),
        ),
        "bluesky": Bluesky(client, default_service_url=settings.bluesky_url),
    }


def _sandbox_oauth(settings: Settings) -> OAuthServer | None:
    """The OAuth server of the sandbox, if the settings name all of it."""
    urls = (
        settings.sandbox_oauth_authorize_url,
        settings.sandbox_oauth_token_url,
        settings.sandbox_oauth_userinfo_url,
        settings.sandbox_oauth_client_id,
    )
    secret = settings.sandbox_oauth_client_secret
    if not all(urls) or secret is None:
        return None
    authorize_url, token_url, userinfo_url, client_id = (str(one) for one in urls)
    return OAuthServer(authorize_url, token_url, userinfo_url, client_id, secret.get_secret_value(), settings.sandbox_oauth_issuer)
