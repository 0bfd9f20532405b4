"""Wire shapes of identity providers and of sign-ins by one. The secret of a provider comes in and never goes out."""

from typing import Annotated

from pydantic import Field, SecretStr

from core.wire import AgencyId, IdentityProviderId, Input, Instant, MemberId, Name, Output, Patch

URL_LENGTH_MAX = 512
CLIENT_ID_LENGTH_MAX = 256
SECRET_LENGTH_MAX = 1_024
DOMAINS_MAX = 20
DOMAIN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$"
PATH_LENGTH_MAX = 512

Domain = Annotated[str, Field(max_length=253, pattern=DOMAIN, examples=["agency.example"])]
Domains = Annotated[list[Domain], Field(min_length=1, max_length=DOMAINS_MAX, description="The e-mails that it may speak for.")]
ProviderName = Annotated[Name, Field(description="What its button says.", examples=["Agency staff"])]
ClientId = Annotated[
    str, Field(min_length=1, max_length=CLIENT_ID_LENGTH_MAX, description="Ours at the provider.", examples=["octavo"])
]
ClientSecret = Annotated[
    SecretStr,
    Field(min_length=1, max_length=SECRET_LENGTH_MAX, description="It is sealed and never shown.", examples=["only-for-reading"]),
]


class IdentityProviderCreate(Input):
    """An OpenID provider and our registration at it."""

    name: ProviderName
    issuer: str = Field(
        min_length=1,
        max_length=URL_LENGTH_MAX,
        description="Exactly as the provider writes it.",
        examples=["https://id.agency.example"],
    )
    client_id: ClientId
    client_secret: ClientSecret
    domains: Domains
    second_factor: bool = Field(
        False,
        description="The provider asks everybody for a second factor, so who comes from it is asked for none here, and counts as "
        "having one where the agency requires it.",
    )


class IdentityProviderUpdate(Patch):
    """Changes to a provider, as a JSON merge patch. Its issuer stays: by it and the subject everybody is known."""

    name: ProviderName | None = None
    client_id: ClientId | None = None
    client_secret: ClientSecret | None = None
    domains: Domains | None = None


class IdentityProviderRead(Output):
    """An OpenID provider by which members sign in."""

    id: IdentityProviderId
    name: str = Field(examples=["Agency staff"])
    issuer: str = Field(description="Who signs, exactly as the provider writes it.", examples=["https://id.agency.example"])
    client_id: str = Field(description="Ours at the provider.", examples=["octavo"])
    domains: list[str] = Field(description="The e-mails that it may speak for.", examples=[["agency.example"]])
    second_factor: bool = Field(description="The provider asks everybody for a second factor.")
    set_by_member_id: MemberId = Field(description="Who set it. It signs nobody in who may more than this member.")
    redirect_uri: str = Field(
        description="Where the provider must be allowed to send people back to.",
        examples=["https://octavo.example/sign-on/callback/agc_..."],
    )
    sign_on_url: str = Field(description="The page on which members begin.", examples=["https://octavo.example/sign-on/agc_..."])
    created_at: Instant


class IdentityProviderList(Output):
    """All of them: an agency has few."""

    data: list[IdentityProviderRead]
    next_cursor: None = Field(description="There is never more.")


class SignOnCreate(Input):
    """A wish to sign in by a provider."""

    agency_id: AgencyId = Field(description="The agency that is to be opened.")
    identity_provider_id: IdentityProviderId = Field(description="One of its providers.")
    onward: str | None = Field(
        None, max_length=PATH_LENGTH_MAX, description="A path of this service to come to afterwards.", examples=["/oauth/authorize"]
    )


class SignOnCreated(Output):
    """Where to send the person, in this very browser."""

    authorize_url: str = Field(examples=["https://id.agency.example/authorize?client_id=octavo"])
    expires_at: Instant
