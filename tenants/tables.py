"""Every table of the project, for Alembic and for the tests that read the catalogue."""

from sqlalchemy import DefaultClause, text
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from core.duty_models import Duty, Heartbeat
from core.sessions import METADATA
from tenants.accounts.models import Account, Connection, ConnectSession
from tenants.agencies.models import Agency, AgencyKey, ApiKey, Erasure, Workspace
from tenants.applications.models import (
    AccessToken,
    Application,
    ApplicationSecret,
    AuthorizationCode,
    Grant,
    PushedRequest,
    RefreshToken,
)
from tenants.audit.models import AuditEntry, AuditSeal
from tenants.events.models import Event
from tenants.idempotency.models import IdempotencyRecord
from tenants.invitations.models import Invitation
from tenants.mail.models import Mail
from tenants.media.models import Asset, AssetVersion
from tenants.operations.models import Operation
from tenants.people.credentials import FactorTries, MailLink, Passkey, PasswordTries, RecoveryCode, TotpFactor, UserKey
from tenants.people.models import Member, Password, PersonSession, RoleRow, User, WorkspaceMember
from tenants.posts.models import Attempt, Post, PostFindings, Publication, Variant
from tenants.sandbox.models import SandboxPost, SandboxProfile
from tenants.sharing.models import ShareLink
from tenants.sign_on.models import Identity, IdentityProvider, SignOn

__all__ = [
    "METADATA",
    "AccessToken",
    "Account",
    "Agency",
    "AgencyKey",
    "ApiKey",
    "Application",
    "ApplicationSecret",
    "Asset",
    "AssetVersion",
    "Attempt",
    "AuditEntry",
    "AuditSeal",
    "AuthorizationCode",
    "ConnectSession",
    "Connection",
    "Duty",
    "Erasure",
    "Event",
    "FactorTries",
    "Grant",
    "Heartbeat",
    "IdempotencyRecord",
    "Identity",
    "IdentityProvider",
    "Invitation",
    "Mail",
    "MailLink",
    "Member",
    "Operation",
    "Passkey",
    "Password",
    "PasswordTries",
    "PersonSession",
    "Post",
    "PostFindings",
    "Publication",
    "PushedRequest",
    "RecoveryCode",
    "RefreshToken",
    "RoleRow",
    "SandboxPost",
    "SandboxProfile",
    "ShareLink",
    "SignOn",
    "TotpFactor",
    "User",
    "UserKey",
    "Variant",
    "Workspace",
    "WorkspaceMember",
]


def _defaults_in_the_database() -> None:
    """Give each scalar default to the database too: bare statements write rows beside the models."""
    for table in METADATA.tables.values():
        for column in table.columns:
            default = column.default
            if column.server_default is None and isinstance(default, ScalarElementColumnDefault):
                column.server_default = DefaultClause(text(f"'{default.arg}'"))


_defaults_in_the_database()
