"""Wire shapes of what people sign in with beside the password: links in mail, second factors, passkeys."""

from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, model_validator

from core.wire import Input, Instant, Output, PasskeyId, is_blank
from tenants.people.codes import CODES
from tenants.people.links import TEXT_LENGTH
from tenants.people.passkeys import PASSKEYS_MAX
from tenants.people.passwords import LENGTH_MAX
from tenants.people.schemas import EMAIL_LENGTH_MAX, NewPassword

NAME_LENGTH_MAX = 100
CODE_LENGTH_MAX = 40
SECRET_EXAMPLE = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
URI_EXAMPLE = f"otpauth://totp/Octavo:ada%40agency.example?secret={SECRET_EXAMPLE}&issuer=Octavo"
CREDENTIAL_EXAMPLE = {"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {"clientDataJSON": "e30"}}
CREDENTIAL = "What `navigator.credentials` gave, as `toJSON()` writes it (WebAuthn Level 3)."
LinkText = Annotated[
    SecretStr, Field(min_length=1, max_length=TEXT_LENGTH, description="The text in the link.", examples=["0" * TEXT_LENGTH])
]


class EmailVerification(Input):
    """Which e-mail is to be verified."""

    email: str | None = Field(
        None,
        min_length=1,
        max_length=EMAIL_LENGTH_MAX,
        description="The e-mail that is to take the place of the one of now. Left out or null: the one of now.",
        examples=["ada@agency.example"],
    )


class LinkOpened(Input):
    """What a link in a mail holds."""

    token: LinkText


class ResetAsked(Input):
    """Whose password is forgotten."""

    email: str = Field(min_length=1, max_length=EMAIL_LENGTH_MAX, description="The e-mail.", examples=["ada@agency.example"])


class ResetDone(Input):
    """The new password, and the link that allows it."""

    token: LinkText
    new_password: NewPassword


class VerifiedRead(Output):
    """An e-mail whose mail arrives."""

    email: str = Field(description="The e-mail that the person signs in by.", examples=["ada@agency.example"])


class _OneOf(Input):
    """Exactly one of the fields is given."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in self.__dict__.values()) != 1:
            raise ValueError("exactly one of " + ", ".join(type(self).model_fields) + " is wanted")
        return self


class SecondFactor(_OneOf):
    """The second step of signing in: one of these."""

    code: SecretStr | None = Field(
        None, min_length=6, max_length=CODE_LENGTH_MAX, description="A code of the authenticator app.", examples=["287082"]
    )
    recovery_code: SecretStr | None = Field(
        None, min_length=15, max_length=CODE_LENGTH_MAX, description="A recovery code.", examples=["k3x9q-7fh2m-w8d4r"]
    )
    passkey: dict[str, Any] | None = Field(None, max_length=20, description=CREDENTIAL, examples=[CREDENTIAL_EXAMPLE])


class Reauthentication(_OneOf):
    """What shows that it is still the same person: one of these."""

    password: SecretStr | None = Field(
        None, min_length=1, max_length=LENGTH_MAX, description="The password.", examples=["correct horse battery"]
    )
    code: SecretStr | None = Field(
        None, min_length=6, max_length=CODE_LENGTH_MAX, description="A code of the authenticator app.", examples=["287082"]
    )
    passkey: dict[str, Any] | None = Field(None, max_length=20, description=CREDENTIAL, examples=[CREDENTIAL_EXAMPLE])


class PasskeyGiven(Input):
    """The answer of a passkey."""

    passkey: dict[str, Any] = Field(max_length=20, description=CREDENTIAL, examples=[CREDENTIAL_EXAMPLE])


class PasskeyOptions(Output):
    """What the browser needs for the next step."""

    options: dict[str, Any] = Field(
        description="For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON` (WebAuthn Level 3). "
        "It counts for five minutes, and once.",
        examples=[{"challenge": "AAAA", "rpId": "octavo.example"}],
    )


class PasskeyCreate(Input):
    """A passkey that the browser has made, and what the person calls it."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH_MAX, description="What to call it.", examples=["Laptop"])
    passkey: dict[str, Any] = Field(max_length=20, description=CREDENTIAL, examples=[CREDENTIAL_EXAMPLE])

    @model_validator(mode="after")
    def _visible(self) -> Self:
        if is_blank(self.name):
            raise ValueError("a name of at least one visible character is wanted")
        return self


class PasskeyRead(Output):
    """A passkey."""

    id: PasskeyId
    name: str = Field(description="What the person calls it.", examples=["Laptop"])
    created_at: Instant
    last_used_at: Instant | None


class CodeGiven(Input):
    """A code of the authenticator app."""

    code: SecretStr = Field(
        min_length=6, max_length=CODE_LENGTH_MAX, description="The code that the app shows.", examples=["287082"]
    )


class AppBegun(Output):
    """An authenticator app that waits for its first code. It is shown this once."""

    secret: str = Field(description="The secret, for apps that take it by hand.", examples=[SECRET_EXAMPLE])
    uri: str = Field(description="The same as the address that a QR code holds.", examples=[URI_EXAMPLE])


class RecoveryCodes(Output):
    """Codes for when the second factor is lost: each works once, and they are shown this once."""

    recovery_codes: list[str] | None = Field(
        max_length=CODES,
        description="The codes. Null: those that there were go on.",
        examples=[["k3x9q-7fh2m-w8d4r"]],
    )


class PasskeyCreated(RecoveryCodes):
    """A passkey that counts from now on; with the first factor come the recovery codes."""

    passkey: PasskeyRead = Field(description="The passkey.")


class SecondFactors(Output):
    """What a person signs in with beside the password."""

    totp_since: Instant | None = Field(description="Since when an authenticator app counts; null: there is none.")
    passkeys: list[PasskeyRead] = Field(max_length=PASSKEYS_MAX, description="The passkeys, oldest first.")
    recovery_codes_left: int = Field(ge=0, le=CODES, description="Recovery codes that were not used.", examples=[10])
