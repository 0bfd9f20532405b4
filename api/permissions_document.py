"""`python -m api.permissions_document`: write docs/permissions.md to standard output, from the table and the API's document."""

import sys
from collections.abc import Iterable, Mapping

from api.document import about
from api.openapi_document import document
from tenants.permissions import AGENCY_ROLES, WORKSPACE_ROLES, Later, Permission

HEAD = """# Permissions

Written by `make openapi` from `tenants/permissions.py` and the document of the API. Each operation asks for one permission. A
member has those of its role in the agency everywhere, and in a workspace also those of its role there. A key has the permissions
among its scopes, in the workspaces that it is bound to; it never holds more than who made it.
"""
ROLES = """
## Roles

Owner and admin reach every workspace. Billing and member reach those that they were added to, where they have the role that
they were given there.
"""
OPENS = """
## What each permission opens
"""
LATER = """
## Later

These stand in the table for what is still to come. No operation asks for them yet, and no key can hold one.
"""


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *rows)) + "\n"


def _matrix(permissions: Iterable[Permission | Later]) -> str:
    roles: list[Mapping[str, frozenset[Permission | Later]]] = [AGENCY_ROLES, WORKSPACE_ROLES]  # type: ignore[list-item]  # names are texts
    named = [(name, held) for table in roles for name, held in table.items()]
    rows = ([f"`{one}`", *("x" if one in held else "" for _, held in named)] for one in permissions)
    return _table(("permission", *(str(name) for name, _ in named)), rows)


def render() -> str:
    """Write the page: roles against permissions, operations by permission, and what is named for later."""
    opens = about.scopes(document())
    operations = _table(("permission", "operations"), ([f"`{one}`", opens[one]] for one in Permission))
    return "\n".join((HEAD + ROLES, _matrix(Permission) + OPENS, operations + LATER, _matrix(Later)))


if __name__ == "__main__":
    sys.stdout.write(render())
