"""Errors of the API, as a tree. Each class is one entry of the closed registry of codes.

Problem
├── InvalidInput            422  validation_failed (with a list of `Fault`)
│   └── Unprocessable       422  a code of its own
├── Malformed               400
├── Unauthenticated         401
├── PermissionDenied        403
├── Missing                 404
├── Conflict                409
├── PreconditionFailed      412
├── PreconditionRequired    428
├── TooManyRequests         429
├── TooLarge                413
├── UnsupportedMedia        415
└── TemporarilyUnavailable  503

`detail` is public prose: it never carries what the caller sent, nor the text of an exception.
"""

from collections.abc import Sequence
from dataclasses import dataclass

NAME_LENGTH_MAX = 64
"""Of a name that the caller made up, this much is said back."""
CODES: dict[str, str] = {
    "validation_failed": "The request is invalid",
    "unknown_field": "The request has a field that does not exist",
    "invalid_json": "The body is not valid JSON",
    "duplicate_key": "The body names one key twice",
    "too_deep": "The body is nested too deeply",
    "invalid_unicode": "A string is not valid Unicode",
    "invalid_character": "A string has a character that cannot be stored",
    "body_required": "This request needs a body",
    "invalid_multipart": "The multipart body cannot be read",
    "invalid_csv": "The CSV cannot be read",
    "request_timeout": "The body did not arrive in time",
    "body_too_large": "The body is too large",
    "unsupported_content_type": "The content type is not supported",
    "unsupported_encoding": "The content encoding is not supported",
    "unknown_parameter": "The query has a parameter that does not exist",
    "repeated_parameter": "A query parameter is given twice",
    "invalid_parameter": "A query parameter is invalid",
    "invalid_cursor": "The cursor does not belong to this list",
    "invalid_idempotency_key": "The Idempotency-Key is not usable",
    "idempotency_mismatch": "This Idempotency-Key was used for another request",
    "idempotency_in_flight": "A request with this Idempotency-Key is still running",
    "invalid_version_header": "The Octavo-Version header is not a date",
    "invalid_if_match": "The If-Match header is not an entity tag of this API",
    "unauthenticated": "The request carries no valid credential",
    "key_in_query": "A key was sent in the query string",
    "permission_denied": "The caller may not do this",
    "not_found": "There is no such resource",
    "method_not_allowed": "The method is not allowed here",
    "misdirected_request": "This host is not served here",
    "precondition_failed": "The resource has changed since it was read",
    "precondition_required": "This request needs If-Match",
    "state_conflict": "The resource is in a state that does not allow this",
    "duplicate_content": "Another post says nearly the same",
    "bulk_rolled_back": "Another item of the batch was refused, so none was stored",
    "publish_in_progress": "The post is being published at this moment",
    "different_account": "The authorisation is for another account",
    "account_exists": "This account is already connected to the workspace",
    "external_ref_exists": "Another post of the workspace has this external_ref",
    "sandbox_needs_test_mode": "The sandbox network is for test keys",
    "network_needs_live_mode": "Test keys reach the sandbox network only",
    "network_rejected": "The network refused the request",
    "network_unavailable": "The network could not be reached",
    "url_not_allowed": "This address may not be called",
    "url_unreachable": "The address gives no file",
    "connect_state_invalid": "This connect session cannot be continued",
    "nothing_to_publish": "The post has neither text nor media",
    "post_invalid": "The post does not fit an account it is meant for",
    "in_the_past": "The time lies in the past",
    "too_far_ahead": "The time lies too far ahead",
    "unknown_time_zone": "The time zone is not an IANA name",
    "naive_instant": "An instant needs its offset from UTC",
    "account_not_usable": "The account cannot take new posts",
    "unsupported_media": "The file is of a kind that is not accepted",
    "media_invalid": "The file cannot be read as what it claims to be",
    "image_too_large": "The image has too many pixels",
    "resource_in_use": "The resource is still needed by others",
    "rate_limited": "There were too many requests",
    "deadline_exceeded": "The request took too long",
    "last_owner": "An agency has an owner",
    "invitation_invalid": "The invitation does not hold",
    "inviter_lacks_rights": "Who invites may not give this any more",
    "email_unverified": "Nothing proves yet that this e-mail is yours",
    "person_exists": "There is an account with this e-mail already",
    "sign_in_failed": "The e-mail and the password do not fit",
    "second_factor_needed": "The second factor has not come yet",
    "second_factor_required": "The agency asks its members for a second factor",
    "reauthentication_required": "Show again that it is you",
    "four_eyes": "Somebody else must send this on its way",
    "password_closed": "Too many passwords were wrong for this e-mail",
    "link_invalid": "The link does not hold",
    "passkey_invalid": "This is no passkey for this service",
    "email_taken": "Somebody else signs in by this e-mail",
    "sign_on_invalid": "This sign-in cannot be continued",
    "sign_on_refused": "The provider's word does not open this agency",
    "session_bound": "This session opens one agency and nothing else",
    "agency_required": "The request does not say in the name of which agency it speaks",
    "cross_site_request": "The request comes from another site",
    "unavailable": "The service cannot answer at this moment",
    "internal_error": "Something failed on our side",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the input: where (JSON pointer, or `?name` for a query parameter), which rule, and prose."""

    pointer: str
    code: str
    detail: str


def token(name: object) -> str:
    """Write a name that the caller made up as a token of a JSON pointer (RFC 6901): short, escaped, nothing invisible in it."""
    shown = "".join(each if each.isprintable() else "\ufffd" for each in str(name)[:NAME_LENGTH_MAX])
    return shown.replace("~", "~0").replace("/", "~1")


def deepest(faults: Sequence[Fault]) -> list[Fault]:
    """Leave out faults of a whole whose part has one: the other ways that a union has are noise beside it."""
    return [one for one in faults if not any(other.pointer.startswith(f"{one.pointer}/") for other in faults)]


class Problem(Exception):
    """Base of every error that the API answers. `status` and `code` are stable; `headers` go with the answer."""

    status = 500
    code = "internal_error"

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        faults: Sequence[Fault] = (),
        headers: dict[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.code = code or self.code
        if self.code not in CODES:
            raise LookupError(f"{self.code} is not in core.errors.CODES")
        self.detail = detail or CODES[self.code]
        self.faults = tuple(faults)
        self.headers = headers or {}
        self.members = members

    @property
    def title(self) -> str:
        """The registry's short sentence for the code."""
        return CODES[self.code]

    def describe(self, public_url: str) -> dict[str, object]:
        """Write it as members of RFC 9457; `public_url` is where the pages of the codes stand."""
        return {
            "type": f"{public_url.rstrip('/')}/errors/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "errors": [{"pointer": fault.pointer, "code": fault.code, "detail": fault.detail} for fault in self.faults],
            **self.members,
        }


class InvalidInput(Problem):
    """The body or a parameter breaks rules; each is listed as a fault."""

    status = 422
    code = "validation_failed"


class Unprocessable(InvalidInput):
    """The input is well formed, but cannot be done; one code says why."""


class Malformed(Problem):
    """The request cannot be read at all."""

    status = 400
    code = "invalid_json"


class Unauthenticated(Problem):
    """No usable credential."""

    status = 401
    code = "unauthenticated"


class PermissionDenied(Problem):
    """The credential is known, but does not reach this far."""

    status = 403
    code = "permission_denied"


class Missing(Problem):
    """Not there, or not yours: the same answer for both."""

    status = 404
    code = "not_found"


class Conflict(Problem):
    """The state of the resource does not allow it."""

    status = 409
    code = "state_conflict"


class PreconditionFailed(Problem):
    """If-Match names an older version."""

    status = 412
    code = "precondition_failed"


class TooLarge(Problem):
    """More bytes than the route takes."""

    status = 413
    code = "body_too_large"


class UnsupportedMedia(Problem):
    """A content type, encoding or file kind that is not taken."""

    status = 415
    code = "unsupported_content_type"


class PreconditionRequired(Problem):
    """If-Match is missing where it is required."""

    status = 428
    code = "precondition_required"


class TooManyRequests(Problem):
    """A rate limit is used up; `Retry-After` says for how long."""

    status = 429
    code = "rate_limited"


class TemporarilyUnavailable(Problem):
    """Something we need is away; trying again later is right."""

    status = 503
    code = "unavailable"
