"""What Schemathesis is told about this API besides its document. It loads this file itself (`hooks` of schemathesis.toml)."""

import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response
from schemathesis.core.failures import Failure

OUTSIDE = frozenset({
    "account_not_usable", "duplicate_content", "external_ref_exists", "idempotency_mismatch", "in_the_past", "invalid_csv",
    "invalid_cursor", "link_invalid", "media_invalid", "naive_instant", "network_needs_live_mode", "network_rejected", "not_found",
    "post_invalid", "too_far_ahead", "unknown_time_zone", "unsupported_media", "url_not_allowed", "url_unreachable",
})  # fmt: skip
"""Codes of refusals that depend on what is stored, on the clock, on a network or on another grammar than JSON's: no schema could
say them. Statuses that depend on them alone are below."""
STATUSES = frozenset({401, 403, 404, 409, 412, 429})
PLACES = (
    re.compile(r"^/(method|credentials)(/|$)"),  # how a network connects, and by what, is data of the network
    re.compile(r"^/columns(/|$)"),  # the first line of a sheet
    re.compile(r"/schedule/at$"),  # the 31st of February
    re.compile(r"^/time_zone$"),  # the zones are data of IANA
    re.compile(r"/(options|metadata|passkey)(/|$)"),  # NUL deep inside of free JSON
)
DETAILS = frozenset({
    "Input should be a valid integer.",  # JSON Schema takes 1.0 for one; a client that sends it computes in floating point
    "A number is out of range.",  # of free JSON: an integer beyond 64 bits
    "A name of at least one visible character is wanted.",  # what is visible changes with Unicode
    "The page asks for credentials and targets: give none.",  # one field by another
    "This application cannot keep a secret.",  # by what is stored
    "One variant per account, for accounts of the post.",  # one field by another
    "No custom role of the agency can hold it.",
    "No custom role of the workspace can hold it.",  # as above: by the scope of the role
    "An https address (or http on loopback) without fragment, user and wildcard is wanted.",  # a grammar of its own
})  # fmt: skip
"""Refusals whose code and place say too little."""


@schemathesis.check
def document_says_what_is_valid(_context: CheckContext, response: Response, case: Case) -> None:
    """Find valid requests that are refused for what the document should have said.

    Stands for Schemathesis' positive_data_acceptance, which judges by status alone.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive or not 400 <= response.status_code < 500:
        return
    problem = response.json()
    if response.status_code in STATUSES or problem["detail"] in DETAILS or _mistaken(case):
        return
    faults = [fault for fault in problem["errors"] if not _is_outside(fault)]
    if faults or (not problem["errors"] and problem["code"] not in OUTSIDE):
        raise Failure(operation=case.operation.label, title="Valid data refused", message=str(faults or problem["code"]))


def _is_outside(fault: dict[str, Any]) -> bool:
    named = fault["code"] in OUTSIDE or any(place.search(fault["pointer"]) for place in PLACES)
    return named or fault["detail"] in DETAILS


def _mistaken(case: Case) -> bool:
    """The tool's coverage phase takes the integer 0 for a valid text of an optional If-Match (4.32.5)."""
    return (case.headers or {}).get("If-Match") == "0"
