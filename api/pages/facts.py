"""What guides say about numbers, networks and scopes: read from the code that decides them, so that it cannot be wrong.

A guide names a fact as `{{ name }}`, inside a sentence or on a line of its own for a table.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta

from fastapi import FastAPI

from api.body import BODY_BYTES_MAX, DEPTH_MAX
from api.document import about
from api.idempotency import KEEP, KEEP_POSTS
from api.pages.people.shared import OPENED_FOR
from api.pagination import LIMIT_DEFAULT, LIMIT_MAX
from api.rate_limits import PASSWORDS
from core.clock import now
from networks.base import Capabilities
from tenants.accounts.connecting import LINK_LIFETIME
from tenants.applications.families import LEEWAY, REFRESH_LIVES
from tenants.audit.chain import VERIFY_MAX
from tenants.invitations.service import LIFETIME
from tenants.people.codes import CODES
from tenants.people.links import LIFETIME as MAIL_LIFETIME
from tenants.people.links import RESET, VERIFY
from tenants.people.passwords import LENGTH_MIN
from tenants.people.sessions import ABSOLUTE, HALF_FOR, IDLE, RECENT
from tenants.people.tries import FREE_CODES, STRANGERS_MAX
from tenants.permissions import AGENCY_ROLES, WORKSPACE_ROLES, Permission
from tenants.posts.bulk import ITEMS_MAX
from tenants.posts.times import AHEAD_MAX, PAST_GRACE
from tenants.rights.closing import AGENCY_GRACE, WORKSPACE_GRACE
from tenants.rights.exporting import KEEP as EXPORT_KEEP
from tenants.sandbox.behaviours import BEHAVIOURS
from tenants.sharing.schemas import LIFETIME_DEFAULT, LIFETIME_MAX
from tenants.sign_on.passage import LIFETIME as SIGN_ON

SOON = timedelta(days=30)
"""Dates of examples lie so far ahead that they hold as long as a process keeps its pages."""
NAME = re.compile(r"\{\{ (\w+) \}\}")


def fill(text: str, app: FastAPI) -> str:
    """Replace every `{{ name }}` of a guide. Raises KeyError for a fact that does not exist."""
    return NAME.sub(lambda match: FACTS[match[1]](app), text)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _networks(app: FastAPI) -> list[Capabilities]:
    return [network.capabilities for _, network in sorted(app.state.networks.items())]


def _promises(app: FastAPI) -> str:
    return "\n".join(
        f"- **{one.title}** (`{one.name}`): class `{one.dedupe}`, settle time {one.settle.total_seconds():g} s. {one.promise}"
        for one in _networks(app)
    )


def _reach(app: FastAPI) -> str:
    rows = ((one.title, "test keys" if one.test_mode else "live keys") for one in _networks(app))
    return _table(("Network", "Reached by"), rows)


def _sandbox(_: FastAPI) -> str:
    return _table(("Handle", "What its account does"), ((f"`{name}`", does) for name, does in BEHAVIOURS.items()))


def _scopes(app: FastAPI) -> str:
    rows = ((f"`{scope}`", opens) for scope, opens in about.scopes(app.openapi()).items())
    return _table(("Scope", "What it opens"), rows)


def _last_sunday_of(month: int) -> date:
    """The next day on which the clocks of the European Union change in March or October (directive 2000/84/EC)."""
    first = (now() + SOON).date()
    for year in (first.year, first.year + 1):
        end = date(year, month, 31)
        day = end - timedelta(days=end.isoweekday() % 7)
        if day >= first:
            return day
    raise AssertionError("one of two Marches is to come")


def _roles(_: FastAPI) -> str:
    tables = (("agency", AGENCY_ROLES), ("workspace", WORKSPACE_ROLES))
    rows = (
        (f"`{role}`", where, ", ".join(f"`{one}`" for one in Permission if one in held))
        for where, table in tables
        for role, held in table.items()
    )
    return _table(("Role", "In", "Permissions"), rows)


FACTS: dict[str, Callable[[FastAPI], str]] = {
    "refresh_days": lambda _: str(REFRESH_LIVES.days),
    "refresh_leeway": lambda _: f"{LEEWAY.total_seconds():g}",
    "promises": _promises,
    "reach": _reach,
    "sandbox": _sandbox,
    "scopes": _scopes,
    "roles": _roles,
    "session_idle_hours": lambda _: f"{IDLE.total_seconds() / 3600:g}",
    "session_days": lambda _: str(ABSOLUTE.days),
    "passwords_per_minute": lambda _: str(PASSWORDS),
    "sign_on_minutes": lambda _: f"{SIGN_ON.total_seconds() / 60:g}",
    "invitation_days": lambda _: str(LIFETIME.days),
    "strangers_max": lambda _: str(STRANGERS_MAX),
    "recovery_codes": lambda _: str(CODES),
    "half_minutes": lambda _: f"{HALF_FOR.total_seconds() / 60:g}",
    "recent_minutes": lambda _: f"{RECENT.total_seconds() / 60:g}",
    "free_codes": lambda _: str(FREE_CODES),
    "verify_hours": lambda _: f"{MAIL_LIFETIME[VERIFY].total_seconds() / 3600:g}",
    "reset_minutes": lambda _: f"{MAIL_LIFETIME[RESET].total_seconds() / 60:g}",
    "password_min": lambda _: str(LENGTH_MIN),
    "body_kilobytes_max": lambda _: str(BODY_BYTES_MAX // 1024),
    "depth_max": lambda _: str(DEPTH_MAX),
    "bulk_items_max": lambda _: str(ITEMS_MAX),
    "page_default": lambda _: str(LIMIT_DEFAULT),
    "page_max": lambda _: str(LIMIT_MAX),
    "verify_max": lambda _: f"{VERIFY_MAX:,}",
    "connect_link_days": lambda _: str(LINK_LIFETIME.days),
    "link_days": lambda _: str(LIFETIME_DEFAULT.days),
    "opened_minutes": lambda _: f"{OPENED_FOR.total_seconds() / 60:g}",
    "link_days_max": lambda _: str(LIFETIME_MAX.days),
    "export_hours": lambda _: f"{EXPORT_KEEP.total_seconds() / 3600:g}",
    "workspace_grace_days": lambda _: str(WORKSPACE_GRACE.days),
    "agency_grace_days": lambda _: str(AGENCY_GRACE.days),
    "keep_hours": lambda _: f"{KEEP.total_seconds() / 3600:g}",
    "keep_posts_days": lambda _: str(KEEP_POSTS.days),
    "ahead_days_max": lambda _: str(AHEAD_MAX.days),
    "past_grace_s": lambda _: f"{PAST_GRACE.total_seconds():g}",
    "some_day": lambda _: (now() + SOON).date().isoformat(),
    "gap_day": lambda _: _last_sunday_of(3).isoformat(),
    "fold_day": lambda _: _last_sunday_of(10).isoformat(),
    "public_url": lambda app: str(app.state.settings.public_url).rstrip("/"),
}
