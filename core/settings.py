"""Settings, each from an environment variable with the prefix `OCTAVO_`. docs/operations.md lists them; a test keeps it so."""

import re
from datetime import timedelta
from email.utils import parseaddr
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.crypto import derive_password

DEVELOPMENT_SECRET = "development-only-secret-never-use-it-in-production"  # it is refused outside development
APP_ROLE = "octavo_app"
WORKER_ROLE = "octavo_worker"
SECRET_MIN_LENGTH = 32
REDIS_SCHEMES = frozenset({"redis", "rediss"})
ORIGIN = re.compile(r"https?://([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(:[1-9]\d{0,4})?")
"""An origin as browsers write it (RFC 6454 section 6.2). No wildcard and no `null`: one page, one entry."""


def listed(text: str) -> list[str]:
    """Split a setting that lists things by comma."""
    return [item.strip() for item in text.split(",") if item.strip()]


def is_loopback(host: str | None) -> bool:
    """Say whether a host is this machine, by its name or its address."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """Everything that differs between installations."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_", env_file=None, extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses to start with development secrets."
    )
    database_url: str = Field(
        "postgresql://octavo@127.0.0.1:5432/octavo",
        description="PostgreSQL 15 or newer. `migrate` uses it as it is (it owns the tables and makes the two narrow roles); "
        "api, worker and scheduler derive their own logins from it unless the next two are given.",
    )
    database_app_url: str | None = Field(
        None, description="Login of the role octavo_app, which reads and writes under row-level security."
    )
    database_worker_url: str | None = Field(
        None, description="Login of the role octavo_worker, which sees the table of duties and nothing else."
    )
    database_listen_url: str | None = Field(
        None,
        description="A direct connection for LISTEN when the others go through PgBouncer in transaction mode; "
        "the scheduler polls when it has none. Default: the worker's URL.",
    )
    database_pool_size: int = Field(10, ge=1, le=200, description="Connections per process and pool.")
    database_prepared_statements: bool = Field(True, description="Off behind PgBouncer in transaction mode.")
    statement_timeout_s: float = Field(10.0, gt=0, description="Longest time one statement may take.")
    broker_url: str | None = Field(
        None,
        description="postgresql://, redis:// or amqp://. Default: the database itself (the worker's login).",
    )
    redis_url: str | None = Field(
        None,
        description="redis:// or rediss://: where API processes tell one another what they counted for the rate limits. Default: "
        "the broker, if it is a Redis; with neither each process counts by itself.",
    )
    secret: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET),
        description="Signs cursors and connect states and derives the logins of the two roles; 32 characters or more.",
    )
    encryption_keys: SecretStr = Field(
        SecretStr("dev1:" + "00" * 32),
        description="The ring that wraps each agency's data key: `id:hex` pairs (256 bits each), comma separated; "
        "the first seals, all open.",
    )
    public_url: str = Field(
        "http://127.0.0.1:8000", description="Where the API is reached from outside; callbacks are built from it."
    )
    allowed_hosts: str = Field("*", description="Host names that the API answers to, comma separated; `*` in development only.")
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on.")
    request_deadline_s: float = Field(
        45.0,
        gt=0,
        le=3_600,
        description="Longest time from a request to the beginning of its answer; then it is rolled back and answered 503. Longer "
        "than a body, a network's call and a statement together, shorter than the 60 s after which most proxies give up.",
    )
    rate_limit_key: int = Field(600, ge=1, le=10**9, description="Requests that one API key may make in a minute.")
    rate_limit_agency: int = Field(
        3_000, ge=1, le=10**9, description="Requests that all keys of an agency together may make in a minute, in each mode."
    )
    rate_limit_address: int = Field(60, ge=1, le=10**9, description="Refused keys that one client address may send in a minute.")
    trusted_proxies: str = Field(
        "",
        description="Addresses and networks of proxies, comma separated, whose X-Forwarded-For is believed. Empty: it is not read.",
    )
    cors_origins: str = Field(
        "",
        description="Origins, comma separated, whose pages may call the API from a browser, such as https://dashboard.example. "
        "Empty: none.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="The mail server: smtps://user:password@host:465, or smtp:// with STARTTLS, which is asked for except on "
        "loopback in development. Without one mail lies in the folder outbox of OCTAVO_HOME in development, and waits in "
        "production.",
    )
    mail_from: str = Field("Octavo <octavo@localhost>", description="Who sends the mail: a name and an address.")
    oauth_registration: bool = Field(
        False, description="Applications may register themselves (RFC 7591) by a key that holds application:manage."
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of /metrics on loopback; 0 switches it off.")
    home: str = Field(".octavo", description="Folder for the embedded database and local media in development.")
    media_url: str | None = Field(
        None, description="Where media lie: file:///path or s3://bucket/prefix. Default: a folder in OCTAVO_HOME."
    )
    media_endpoint: str | None = Field(None, description="Endpoint of an S3-compatible store that is not Amazon's.")
    media_access_key: str | None = Field(None, description="Access key of the S3-compatible store.")
    media_secret_key: SecretStr | None = Field(None, description="Secret key of the S3-compatible store.")
    media_region: str = Field("us-east-1", description="Region of the S3-compatible store.")
    egress_allow_loopback: bool = Field(
        False, description="Development and tests: lets given URLs (a Bluesky server, say) point to loopback."
    )
    sandbox_url: str | None = Field(
        None, description="Base URL of the sandbox network. Default: the one that this API serves under /sandbox."
    )
    sandbox_settle_s: float = Field(
        30.0, ge=0, description="How long after a call the sandbox network may still make its effect visible."
    )
    sandbox_deadline_s: float = Field(10.0, gt=0, le=60, description="Total time of one call to the sandbox network.")
    sandbox_oauth_authorize_url: str | None = Field(
        None, description="Authorization endpoint of an OAuth server for the sandbox's redirect kind."
    )
    sandbox_oauth_token_url: str | None = Field(None, description="Its token endpoint.")
    sandbox_oauth_userinfo_url: str | None = Field(None, description="Its userinfo endpoint.")
    sandbox_oauth_issuer: str | None = Field(None, description="Its issuer, checked in the callback (RFC 9207).")
    sandbox_oauth_client_id: str | None = Field(None, description="Our client id there.")
    sandbox_oauth_client_secret: SecretStr | None = Field(None, description="Our client secret there.")
    bluesky_url: str = Field("https://bsky.social", description="Default Bluesky server when none is given at connect.")
    worker_threads: int = Field(8, ge=1, le=256, description="Batches that one worker process works on at a time.")
    worker_calls_in_flight: int = Field(256, ge=1, le=10_000, description="Network calls that one worker process keeps in the air.")
    batch_size: int = Field(100, ge=1, le=500, description="Duties in one message.")
    duties_queued: int = Field(
        400,
        ge=1,
        le=100_000,
        description="Duties of one kind that may wait in the broker, over all workers. More would not be faster, and an "
        "agency whose turn comes would wait behind them.",
    )
    lease_s: float = Field(
        90.0,
        description="How long a claim holds: longer than the longest call deadline of any network plus twice the margin.",
    )
    poll_s: float = Field(1.0, gt=0, le=60, description="Longest sleep of the scheduler.")
    fallback_after_s: float = Field(
        5.0, gt=0, description="A duty this late is taken by a worker straight from the database: the broker is away."
    )
    heartbeat_s: float = Field(
        5.0, gt=0, description="How often a worker must have finished a heartbeat duty; /readyz turns red after four."
    )
    shutdown_s: float = Field(25.0, gt=0, description="Grace at SIGTERM; calls in flight finish within it.")
    log_format: Literal["json", "console"] = Field("json", description="`console` is for people.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is written.")

    @field_validator("database_url", "database_app_url", "database_worker_url", "database_listen_url")
    @classmethod
    def _plain_scheme(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"postgresql", "postgres"}:
            raise ValueError("a database URL begins with postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in REDIS_SCHEMES:
            raise ValueError("a Redis URL begins with redis:// or rediss://")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _mail_has_a_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
                raise ValueError("a mail server's URL begins with smtp:// or smtps:// and names a host")
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_has_a_sender(cls, value: str) -> str:
        address = parseaddr(value)[1]
        if not all(address.rpartition("@")) or not value.isprintable():
            raise ValueError("a sender such as Octavo <octavo@agency.example> is wanted")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, value: str) -> str:
        for proxy in listed(value):
            ip_network(proxy)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_exact(cls, value: str) -> str:
        for origin in listed(value):
            if not ORIGIN.fullmatch(origin):
                raise ValueError("an origin is scheme, host and perhaps port, in lower case: https://dashboard.example")
        return value

    @model_validator(mode="after")
    def _production_is_safe(self) -> "Settings":
        if self.environment == "production":
            problems = [
                name
                for name, bad in (
                    ("OCTAVO_SECRET", self.secret.get_secret_value() == DEVELOPMENT_SECRET),
                    ("OCTAVO_SECRET (too short)", len(self.secret.get_secret_value()) < SECRET_MIN_LENGTH),
                    ("OCTAVO_ENCRYPTION_KEYS", "00" * 32 in self.encryption_keys.get_secret_value()),
                    ("OCTAVO_ALLOWED_HOSTS", self.allowed_hosts.strip() in {"", "*"}),
                    ("OCTAVO_EGRESS_ALLOW_LOOPBACK", self.egress_allow_loopback),
                )
                if bad
            ]
            if problems:
                raise ValueError("production refuses development values of: " + ", ".join(problems))
        return self

    def _as_role(self, role: str) -> str:
        parts = urlsplit(self.database_url)
        password = derive_password(self.secret.get_secret_value(), role)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{role}:{quote(password)}@{host}"))

    @property
    def app_url(self) -> str:
        """The login under row-level security."""
        return self.database_app_url or self._as_role(APP_ROLE)

    @property
    def worker_url(self) -> str:
        """The login that sees duties only."""
        return self.database_worker_url or self._as_role(WORKER_ROLE)

    @property
    def listen_url(self) -> str:
        """The direct connection for LISTEN."""
        return self.database_listen_url or self.worker_url

    @property
    def effective_broker_url(self) -> str:
        """The broker; the database itself unless another is named."""
        return self.broker_url or self.worker_url

    @property
    def effective_redis_url(self) -> str | None:
        """The Redis over which rate limits are shared, if there is one: its own, or else the broker's."""
        if self.redis_url is None and self.broker_url is not None and urlsplit(self.broker_url).scheme in REDIS_SCHEMES:
            return self.broker_url
        return self.redis_url

    @property
    def effective_sandbox_url(self) -> str:
        """Where the sandbox network answers."""
        return (self.sandbox_url or f"http://127.0.0.1:{self.port}/sandbox").rstrip("/")

    @property
    def effective_media_url(self) -> str:
        """Where media lie."""
        return self.media_url or f"file://{self.home}/media"

    @property
    def lease(self) -> timedelta:
        """How long a claim holds."""
        return timedelta(seconds=self.lease_s)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the environment once per process."""
    return Settings()
