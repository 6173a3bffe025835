"""The plan: everything a person writes for one registry, and nothing else.

It holds no secret: every credential is a reference. `schema()` is what editors and CI check a plan against.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StringConstraints,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from rekey.errors import PlanInvalid
from rekey.model.names import ConsumerName, RegistryName
from rekey.model.origin import Origin
from rekey.model.password import Alphabet, ValueShape
from rekey.model.request import Reason

PLAN_LIMIT = 256 * 1024
"""Bytes of a plan document at most."""

_UNITS = {"s": "seconds", "second": "seconds", "m": "minutes", "minute": "minutes", "h": "hours", "hour": "hours"}
_UNITS |= {"d": "days", "day": "days"}
_DURATION = re.compile(r"^(\d+) ?(s|m|h|d|seconds?|minutes?|hours?|days?)$")


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.match(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("write a duration as a number and a unit, such as `90s`, `20 minutes`, `24h` or `30 days`")
    unit = found[2] if found[2] in _UNITS else found[2].rstrip("s")
    return timedelta(**{_UNITS[unit]: int(found[1])})


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda value: f"{int(value.total_seconds())}s"),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["90s", "24h", "30 days"]}),
]


def _url(value: str) -> str:
    Origin.parse(value)
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]
"""`https://host[:port][/path]`; plain `http://` only to this machine itself, where no network can read it."""


def _endpoint(value: str) -> str:
    if Origin.parse(value).path:
        raise ValueError("an endpoint is a host, such as `registry.example.com`: leave the path out")
    return value.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_endpoint)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Pem = Annotated[str, StringConstraints(pattern=r"^-----BEGIN CERTIFICATE-----", max_length=64 * 1024)]
JsonPointer = Annotated[str, StringConstraints(pattern=r"^(/([^~/]|~[01])*)*$")]
"""RFC 6901: `/data/password` is the field `password` of the field `data`."""
HttpPath = Annotated[str, StringConstraints(pattern=r"^/[^\s?#]*$", max_length=1024)]
HttpMethod = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Repository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")]
RepositoryPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.*?-]+$")]
NamespacedName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
]


def _not_reserved(value: str) -> str:
    if value.upper().startswith("GITHUB_"):
        raise ValueError("names that begin with GITHUB_ are GitHub's own")
    return value


SecretVariable = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=255), AfterValidator(_not_reserved)
]
"""https://docs.github.com/en/actions/reference/security/secrets: letters, digits, underscores; never GITHUB_…"""


class Part(BaseModel):
    """Base of every part of a plan: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CredentialRef(Part):
    """Where a credential of Rekey's own is kept. Never the credential itself."""

    secret: Annotated[str, StringConstraints(pattern=r"^rekey/[A-Za-z0-9/_+=.@-]+$")]
    """Name of a Secrets Manager secret: JSON with the credential's fields, and the `registries` and `hosts` it is for."""


class SignIn(Part):
    """The call that turns the credential into a bearer token."""

    method: HttpMethod = "POST"
    path: HttpPath
    body: dict[str, str] = Field(default_factory=dict)
    """JSON body. A value `{field}` is replaced with that field of the credential."""
    token_at: JsonPointer
    """Where in the answer the token is."""


class ResetCall(Part):
    """The one HTTP call that generates a new password and shows it."""

    method: HttpMethod = "POST"
    path: HttpPath
    body: dict[str, Any] | None = None
    """JSON body; none is sent where it is left out."""
    password_at: JsonPointer
    """Where in the answer the new password is."""
    refused_status: tuple[Annotated[int, Field(ge=400, le=499)], ...] = (400, 401, 403, 404, 405, 409, 422, 423, 429)
    """Statuses with which this API says for certain that nothing was reset. Anything else is kept and read."""
    timeout: Duration = timedelta(seconds=30)
    """How long to wait for the answer."""
    settle: Duration = timedelta(minutes=2)
    """How long a call whose answer was lost may still take effect."""


class HttpApi(Part):
    """A registry's control plane, described: how to sign in, whether it is well, how to reset."""

    url: Url
    login: CredentialRef
    sign_in: SignIn | None = None
    """Left out: the credential's field `token` is sent as a bearer, or `username` and `password` as Basic."""
    health: HttpPath
    """A GET that answers 2xx while the API is well. Tried before the reset, and between two refusals."""
    reset: ResetCall
    ca: Pem | None = None


class CloudRayaApi(Part):
    """CloudRaya's control plane. What is left out follows the vendor's convention (see the README: check it)."""

    login: CredentialRef
    """Fields `email` and `password`."""
    registry_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    url: Url = "https://api-v2.cloudraya.com"
    reset: ResetCall | None = None
    """Left out: PATCH /image-registry/v1/registries/{registry_id}/reset-password, the password at /data/password."""
    ca: Pem | None = None


class AlphabetPart(Part):
    """What the registry's generated passwords look like, where it is known."""

    characters: Text | None = None
    min_length: Annotated[int, Field(ge=1)] = 1
    max_length: Annotated[int, Field(ge=1)] = 4096

    def alphabet(self) -> Alphabet:
        """Return it as the type that consumers ask."""
        return Alphabet(self.characters, self.min_length, self.max_length)


class RegistryPart(Part):
    """What every registry has: the place where images are pulled and pushed."""

    name: RegistryName
    endpoint: Endpoint
    """Host of the registry, as in `docker login HOST`."""
    username: Text
    repositories: tuple[Text, ...] | None = None
    """Repositories whose tags and digests are compared before and after. Left out: all that the registry lists."""
    token_host: Endpoint | None = None
    """Host of the registry's token server, where it is another one than `endpoint`. No other host gets a credential."""
    ca: Pem | None = None
    """A private certificate authority, as PEM."""
    alphabet: AlphabetPart = AlphabetPart()
    max_wrong_logins: Annotated[int, Field(ge=1, le=20)] = 3
    """Wrong logins in one rotation at most: registries lock accounts."""


class HttpRegistry(RegistryPart):
    """Any registry whose reset is one HTTP call."""

    type: Literal["http"]
    api: HttpApi


class CloudRayaRegistry(RegistryPart):
    """CloudRaya's image registry."""

    type: Literal["cloudraya"]
    api: CloudRayaApi


class ManualRegistry(RegistryPart):
    """A person clicks "reset password" when Rekey says so, and pastes the new one once."""

    type: Literal["manual"]
    where: Text
    """What the person is to do, such as the console's address and the button's name."""
    settle: Duration = timedelta(0)


Registry = Annotated[HttpRegistry | CloudRayaRegistry | ManualRegistry, Field(discriminator="type")]


def _not_our_own(value: str) -> str:
    if value.startswith("rekey/"):
        raise ValueError(
            "names under `rekey/` are for Rekey's own credentials: readers of the password must not see those"
        )
    return value


class SecretsManagerStore(Part):
    """AWS Secrets Manager: the candidate under AWSPENDING, the password in force under AWSCURRENT."""

    type: Literal["secrets-manager"]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_+=.@-]{1,512}$"), AfterValidator(_not_our_own)]
    """Name of the secret."""


Store = SecretsManagerStore


class ConsumerPart(Part):
    """What every entry of `consumers` has."""

    name: ConsumerName
    optional: bool = False
    """True: the gate passes where this entry is not ready."""


class GitHubSecret(ConsumerPart):
    """An Actions secret of a repository, or of all repositories that a pattern matches."""

    type: Literal["github-secret"]
    repository: Repository | None = None
    repositories: RepositoryPattern | None = None
    """A pattern such as `acme/svc-*`: only repositories that already have the secret, unless `create` is true."""
    secret: SecretVariable
    auth: CredentialRef
    """Fields `token`; or `app_id`, `installation_id` and `private_key` of a GitHub App."""
    api: Url = "https://api.github.com"
    create: bool = False
    """True: also where the secret does not exist yet."""
    value: ValueShape = "password"
    exclusive: bool = False
    """True: nothing else is in that secret. `docker-config` needs it: what cannot be read cannot be kept."""
    ca: Pem | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.repository is None) == (self.repositories is None):
            raise ValueError("give either `repository` (one) or `repositories` (a pattern)")
        if self.value == "docker-config" and not self.exclusive:
            raise ValueError(
                "`value: docker-config` overwrites the whole secret, and GitHub cannot be asked what is in it: "
                "say `exclusive: true` if only this registry is in there"
            )
        return self


class EksCluster(Part):
    """A cluster of Amazon EKS, entered with the function's own role."""

    eks: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class ServerCluster(Part):
    """Any cluster, entered with a service account's token."""

    server: Url
    token: CredentialRef
    """Field `token`."""
    ca: Pem | None = None


def _cluster_kind(value: object) -> str:
    return "<eks>" if isinstance(value, EksCluster) or (isinstance(value, dict) and "eks" in value) else "<server>"


Cluster = Annotated[
    Annotated[EksCluster, Tag("<eks>")] | Annotated[ServerCluster, Tag("<server>")], Discriminator(_cluster_kind)
]


class KubernetesPullSecret(ConsumerPart):
    """Image pull secrets of one cluster, replaced in place."""

    type: Literal["kubernetes-pull-secret"]
    cluster: Cluster
    secrets: Annotated[tuple[NamespacedName, ...], Field(min_length=1)]
    """`namespace/name` each."""
    create: bool = False


class WebhookConsumer(ConsumerPart):
    """A signed message to any automation tool, with a reference to the store and never the password."""

    type: Literal["webhook"]
    url: Url
    signing_key: CredentialRef
    """Field `key`: `whsec_` and base64 of 24 to 64 bytes (https://www.standardwebhooks.com)."""
    ca: Pem | None = None


Consumer = Annotated[GitHubSecret | KubernetesPullSecret | WebhookConsumer, Field(discriminator="type")]


class SnsNotifier(Part):
    """A message to an SNS topic for every event that tells."""

    type: Literal["sns"]
    topic: Annotated[str, StringConstraints(pattern=r"^arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+$")]
    only_attention: bool = False
    """True: only what needs a person."""


Notifier = SnsNotifier


class ReasonPolicy(Part):
    """What is different for one reason of rotating."""

    unready_consumers: Literal["stop", "proceed"] = "stop"
    """Whether the gate passes where mandatory consumers are not ready. Store, escrow and API are never waived."""


class Policy(Part):
    """How this registry is rotated."""

    compromised: ReasonPolicy = ReasonPolicy()
    lost: ReasonPolicy = ReasonPolicy()
    ready_for: Duration = timedelta(minutes=30)
    """`manual`: how long a rotation that is ready waits for the paste."""
    recover_for: Duration = timedelta(hours=24)
    """How long consumers that do not answer are tried."""

    def unready_consumers_stop(self, reason: Reason) -> bool:
        """Whether the gate fails for a mandatory consumer that is not ready."""
        special = {Reason.COMPROMISED: self.compromised, Reason.LOST: self.lost}.get(reason)
        return special is None or special.unready_consumers == "stop"


SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class Plan(Part):
    """One registry: what rotates, where the password is kept, who may ask for it, who gets it, who is told."""

    registry: Registry
    store: Store
    accepts: Annotated[dict[SourceName, Annotated[tuple[Reason, ...], Field(min_length=1)]], Field(min_length=1)]
    """Source of a request → the reasons it may give. An event of any other source or reason is refused."""
    policy: Policy = Policy()
    consumers: Annotated[tuple[Consumer, ...], Field(min_length=1)]
    notify: tuple[Notifier, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [consumer.name for consumer in self.consumers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"consumer names must differ; given more than once: {', '.join(twice)}")
        return self


def read(document: object) -> Plan:
    """Return the plan that a JSON document describes. Raises PlanInvalid with every problem and its exact key."""
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        found = [
            (path(item["loc"], document), _said(item["type"], item["msg"]))
            for item in error.errors(include_input=False, include_url=False)
        ]
        keys = [key for key, _ in found]
        # A list whose items are wrong is also "too short": the items' own problems say it better.
        problems = [(key, said) for key, said in found if not any(other.startswith(f"{key}[") for other in keys)]
        raise PlanInvalid([f"{key}: {said}" for key, said in problems]) from None


_PLAIN_WORDS = {
    "extra_forbidden": "unknown key",
    "missing": "missing",
    "union_tag_not_found": "`type` is missing",
    "too_short": "must not be empty",
}


def _said(kind: str, message: str) -> str:
    return _PLAIN_WORDS.get(kind, message.removeprefix("Value error, "))


def path(location: tuple[int | str, ...], document: object) -> str:
    """Return `consumers[0].auth.secret` for pydantic's location; names of union branches are no keys and fall out."""
    text, here = "", document
    for step in location:
        if isinstance(here, (list, tuple)) and isinstance(step, int):
            text += f"[{step}]"
            here = here[step] if step < len(here) else None
        elif isinstance(here, dict) and (step in here or step == location[-1]):
            text += f".{step}" if text else str(step)
            here = here.get(step)
        elif here is None:
            text += f".{step}" if text else str(step)
    return text or "the plan"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a plan."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Rekey plan"} | Plan.model_json_schema()
