"""The answers that are no success: which codes stand under which status, each with an example that fits."""

from dataclasses import dataclass
from typing import Any

from api.document.headers import EVERY, LATER, refer
from api.problems import FaultRead, ProblemRead
from core.errors import CODES

REQUEST_ID = "req_01kazm3v9sfa4t2tq9gk1x7c5e"
PROBLEM = "Problem"
REGISTRY = "ErrorCode"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One status: what it means, its codes (the first is the usual one), and the headers that go with it."""

    meaning: str
    codes: tuple[str, ...]
    headers: tuple[str, ...] = EVERY


REFUSALS: dict[int, Refusal] = {
    400: Refusal(
        "The request cannot be read.",
        (
            "invalid_json", "duplicate_key", "too_deep", "body_required", "invalid_multipart", "invalid_csv", "unknown_parameter",
            "repeated_parameter", "invalid_parameter", "invalid_cursor", "invalid_idempotency_key", "invalid_version_header",
            "invalid_if_match", "key_in_query", "agency_required", "sign_on_invalid",
        ),
    ),
    401: Refusal(
        "There is no valid credential.", ("unauthenticated", "sign_in_failed", "second_factor_needed"), (*EVERY, "WWW-Authenticate")
    ),
    403: Refusal(
        "The caller may not do this.",
        ("permission_denied", "cross_site_request", "second_factor_required", "reauthentication_required", "sign_on_refused",
         "session_bound", "four_eyes"),
    ),
    404: Refusal("It is not there, or not yours: the same answer for both.", ("not_found", "invitation_invalid")),
    405: Refusal("The method is not allowed here.", ("method_not_allowed",)),
    408: Refusal("The body did not arrive in time.", ("request_timeout",)),
    409: Refusal(
        "The state of things does not allow it.",
        (
            "state_conflict", "idempotency_in_flight", "publish_in_progress", "different_account", "account_exists",
            "external_ref_exists", "duplicate_content", "bulk_rolled_back", "connect_state_invalid", "resource_in_use",
            "last_owner", "email_taken", "inviter_lacks_rights", "email_unverified", "person_exists",
        ),
        EVERY + LATER,
    ),
    412: Refusal("`If-Match` names an older version.", ("precondition_failed",)),
    413: Refusal("The body is too large.", ("body_too_large",)),
    415: Refusal(
        "The content type, the encoding or the kind of file is not taken.",
        ("unsupported_content_type", "unsupported_encoding", "unsupported_media"),
    ),
    421: Refusal("The host is not served here.", ("misdirected_request",)),
    422: Refusal(
        "The input breaks rules; `errors` says which and where.",
        (
            "validation_failed", "unknown_field", "invalid_unicode", "invalid_character", "idempotency_mismatch",
            "sandbox_needs_test_mode", "network_needs_live_mode", "network_rejected", "url_not_allowed", "url_unreachable",
            "nothing_to_publish", "post_invalid", "in_the_past", "too_far_ahead", "unknown_time_zone", "naive_instant",
            "account_not_usable", "media_invalid", "image_too_large", "link_invalid", "passkey_invalid",
        ),
    ),
    428: Refusal("`If-Match` is missing.", ("precondition_required",)),
    429: Refusal(
        "There were too many requests; `violated_policies` names the limits.", ("rate_limited", "password_closed"), EVERY + LATER
    ),
    500: Refusal("Something failed on our side.", ("internal_error",), ("Request-Id",)),
    503: Refusal("Try again in a moment.", ("unavailable", "deadline_exceeded", "network_unavailable"), (*EVERY, *LATER)),
}  # fmt: skip
"""The closed registry by status; a test holds it against core.errors and every raise."""
FAULTS: dict[str, str] = {
    "validation_failed": "/name",
    "unknown_field": "/txet",
    "invalid_unicode": "/text",
    "invalid_character": "/text",
    "post_invalid": "/text",
    "in_the_past": "/schedule/at",
    "too_far_ahead": "/schedule/at",
    "unknown_time_zone": "/time_zone",
    "naive_instant": "/schedule/at",
    "account_not_usable": "/account_ids/0",
    "url_not_allowed": "/url",
    "url_unreachable": "/url",
    "unknown_parameter": "?limti",
    "repeated_parameter": "?limit",
    "invalid_parameter": "?limit",
}
"""Codes whose example names a place in the request."""


def example(status: int, code: str, public_url: str) -> dict[str, Any]:
    """Write the problem that an answer with this status and code carries."""
    title = CODES[code]
    pointer = FAULTS.get(code)
    return {
        "type": f"{public_url.rstrip('/')}/errors/{code}",
        "title": title,
        "status": status,
        "detail": f"{title}.",
        "code": code,
        "request_id": REQUEST_ID,
        "errors": [] if pointer is None else [{"pointer": pointer, "code": code, "detail": f"{title}."}],
    }


def statuses_of(code: str) -> list[int]:
    """The statuses under which a code is answered."""
    return [status for status, refusal in REFUSALS.items() if code in refusal.codes]


def problem_schemas(public_url: str) -> dict[str, Any]:
    """The shapes of an error, and the registry of codes as an enum."""
    registry = {
        "type": "string",
        "description": "Every code that there is today. The list may grow: a code that you do not know is judged by its status.",
        "enum": sorted(CODES),
        "x-enumDescriptions": dict(sorted(CODES.items())),
        "x-octavo-statuses": {code: statuses_of(code) for code in sorted(CODES)},
        "examples": ["not_found"],
    }
    schema = ProblemRead.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs")
    for one in (schema, definitions[FaultRead.__name__]):
        known = one["properties"]["code"]
        one["properties"]["code"] = {
            # Open on purpose: a generated client must not fail at a code that came after it.
            "anyOf": [{"$ref": f"#/components/schemas/{REGISTRY}"}, {"type": "string", "pattern": "^[a-z_]+$", "maxLength": 64}],
            "description": known.get("description", "The stable name of what is wrong."),
            "examples": known["examples"],
        }
    schema["title"] = PROBLEM
    schema["required"] = list(schema["properties"])
    schema["examples"] = [example(404, "not_found", public_url)]
    return {REGISTRY: registry, PROBLEM: schema, **definitions}


def responses(public_url: str) -> dict[str, Any]:
    """One component for each status that an operation may answer."""
    made = {}
    for status, refusal in REFUSALS.items():
        codes = [code for code in refusal.codes if code in CODES]
        made[component(status)] = {
            "description": refusal.meaning,
            "headers": refer(*refusal.headers),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": f"#/components/schemas/{PROBLEM}"},
                    "examples": {code: {"summary": CODES[code], "value": example(status, code, public_url)} for code in codes},
                }
            },
        }
    return made


def component(status: int) -> str:
    """Name the component of a status."""
    return f"Problem{status}"


def refer_to(status: int) -> dict[str, str]:
    """Refer to the answer of a status."""
    return {"$ref": f"#/components/responses/{component(status)}"}
