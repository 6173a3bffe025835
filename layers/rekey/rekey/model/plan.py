"""The plan: everything a person writes for one registry, and nothing else.

It holds no secret: every credential is a reference. A docstring under a field is what editors show for it
(plan.schema.json is made from this file).
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from rekey.errors import PlanInvalid, PlanProblem
from rekey.model.names import ConsumerName, RegistryName
from rekey.model.password import Alphabet, ValueShape
from rekey.model.problems import given_twice, problems_of
from rekey.model.request import Reason
from rekey.model.shape import Shape
from rekey.model.values import (
    Address,
    Duration,
    Endpoint,
    HttpMethod,
    HttpPath,
    JsonPointer,
    NamespacedName,
    Pem,
    Repository,
    RepositoryPattern,
    SecretVariable,
    Text,
    Url,
    Username,
    VaultPath,
)

PLAN_LIMIT = 256 * 1024
"""Bytes of a plan document at most."""


class Part(BaseModel):
    """Base of every part of a plan: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CredentialRef(Part):
    """Where a credential of Rekey's own is kept. Never the credential itself."""

    secret: Annotated[
        str, Shape(r"^rekey/[A-Za-z0-9/_+=.@-]{1,506}$", "the name of a secret under `rekey/`, such as `rekey/github`")
    ]
    """Name of a Secrets Manager secret: JSON: its fields, and `registries` and `hosts` it is for."""


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
    registry_id: Annotated[str, Shape(r"^[A-Za-z0-9_-]{1,64}$", "letters, digits, hyphens and underscores, at most 64")]
    url: Url = "https://api-v2.cloudraya.com"
    reset: ResetCall | None = None
    """Left out: PATCH /image-registry/v1/registries/{registry_id}/reset-password, the password at /data/password."""
    ca: Pem | None = None


class HarborApi(Part):
    """Harbor's API, and the robot account whose secret rotates. The robot's name is `registry.username`."""

    url: Url
    login: CredentialRef
    """Fields `username` and `password` of somebody who may read and update robot accounts."""
    robot_id: Annotated[int, Field(ge=1)]
    """Its number, which Harbor's robot list shows; a robot cannot be changed by its name."""
    timeout: Duration = timedelta(seconds=30)
    """How long to wait for the answer."""
    settle: Duration = timedelta(minutes=2)
    """How long a call whose answer was lost may still take effect."""
    ca: Pem | None = None


class GiteaApi(Part):
    """The API of Gitea or Forgejo. The user whose password rotates is `registry.username`."""

    url: Url
    """Such as `https://gitea.example.com`; with the path that Gitea is served under, where there is one."""
    login: CredentialRef
    """Field `token`, with the scopes `write:admin` and `read:user`, of a site administrator; or `username` and
    `password` of one. Another user than the registry's."""
    timeout: Duration = timedelta(seconds=30)
    """How long to wait for the answer."""
    settle: Duration = timedelta(minutes=2)
    """How long a call whose answer was lost may still take effect."""
    ca: Pem | None = None


class AlphabetPart(Part):
    """What new passwords look like, where it is known or wanted."""

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
    username: Username
    repositories: tuple[Text, ...] | None = None
    """Repositories whose tags and digests are compared before and after. Left out: all that the registry lists.

    Where the registry takes tokens, what one grants in the first five of them proves a password.
    """
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


class HarborRegistry(RegistryPart):
    """A robot account of Harbor, of a project or of the system."""

    type: Literal["harbor"]
    api: HarborApi
    max_wrong_logins: Annotated[int, Field(ge=1, le=20)] = 12
    """Wrong logins in one rotation at most. Harbor does not lock robot accounts."""


class GiteaRegistry(RegistryPart):
    """The container registry of Gitea or Forgejo, entered with a user's password."""

    type: Literal["gitea"]
    api: GiteaApi
    max_wrong_logins: Annotated[int, Field(ge=1, le=20)] = 12
    """Wrong logins in one rotation at most. Gitea locks no accounts."""


class ManualRegistry(RegistryPart):
    """A person clicks "reset password" when Rekey says so, and pastes the new one once."""

    type: Literal["manual"]
    where: Text
    """What the person is to do, such as the console's address and the button's name."""
    settle: Duration = timedelta(0)


Registry = Annotated[
    HttpRegistry | CloudRayaRegistry | HarborRegistry | GiteaRegistry | ManualRegistry, Field(discriminator="type")
]


def _not_our_own(value: str) -> str:
    if value.startswith("rekey/"):
        raise ValueError("must not begin with `rekey/`: what Rekey keeps for itself is there, and no reader looks")
    return value


class SecretsManagerStore(Part):
    """AWS Secrets Manager: the candidate under AWSPENDING, the password in force under AWSCURRENT."""

    type: Literal["secrets-manager"]
    name: Annotated[
        str,
        Shape(r"^[A-Za-z0-9/_+=.@-]{1,512}$", "letters, digits and any of `/_+=.@-`, at most 512"),
        AfterValidator(_not_our_own),
    ]
    """Name of the secret."""


class VaultCredentialRef(CredentialRef):
    """Where the credential for Vault is kept. Its name is one that every function which reads the store may read."""

    secret: Annotated[
        str,
        Shape(
            r"^rekey/vault-[A-Za-z0-9/_+=.@-]{1,500}$",
            "the name of a secret that begins with `rekey/vault-`, such as `rekey/vault-approle`",
        ),
    ]
    """Name of a Secrets Manager secret: JSON: its fields, and `registries` and `hosts` it is for."""


class VaultAppRole(Part):
    """Vault's auth method AppRole."""

    approle: VaultCredentialRef
    """Fields `role_id` and `secret_id`."""
    mount: VaultPath = "approle"


class VaultAws(Part):
    """Vault's auth method AWS, of type `iam`: the functions' own roles, and no credential besides."""

    aws: Text
    """Name of the role in Vault that the functions' roles may take."""
    server_id: Text | None = None
    """What is signed as X-Vault-AWS-IAM-Server-ID. Left out: the host of `address`."""
    mount: VaultPath = "aws"


class VaultJwt(Part):
    """Vault's auth method JWT."""

    jwt: VaultCredentialRef
    """Field `token`: the signed token."""
    role: Text
    mount: VaultPath = "jwt"


class VaultKubernetes(Part):
    """Vault's auth method Kubernetes, with the token of a service account."""

    kubernetes: VaultCredentialRef
    """Field `token`: the service account's token."""
    role: Text
    mount: VaultPath = "kubernetes"


class VaultToken(Part):
    """A token as it is, for trying out: it ends, and nobody makes a new one."""

    token: VaultCredentialRef
    """Field `token`."""


_VAULT_LOGINS: Mapping[str, type[Part]] = {
    "token": VaultToken,
    "aws": VaultAws,
    "jwt": VaultJwt,
    "kubernetes": VaultKubernetes,
}


def _vault_login_kind(value: object) -> str:
    for kind, part in _VAULT_LOGINS.items():
        if isinstance(value, part) or (isinstance(value, dict) and kind in value):
            return f"<{kind}>"
    return "<approle>"


VaultLogin = Annotated[
    Annotated[VaultAppRole, Tag("<approle>")]
    | Annotated[VaultAws, Tag("<aws>")]
    | Annotated[VaultJwt, Tag("<jwt>")]
    | Annotated[VaultKubernetes, Tag("<kubernetes>")]
    | Annotated[VaultToken, Tag("<token>")],
    Discriminator(_vault_login_kind),
]


def _not_of_the_api(value: str) -> str:
    if value.startswith(("data/", "metadata/")):
        raise ValueError("leave `data/` out: that is part of Vault's URLs, not of the path, as in `vault kv get`")
    return value


class VaultStore(Part):
    """HashiCorp Vault or OpenBao, a key-value engine of version 2: the candidate under a path of its own."""

    type: Literal["vault"]
    address: Url
    """Where Vault answers, as in VAULT_ADDR; it must lead to the active server."""
    mount: VaultPath = "secret"
    """Where the key-value engine is mounted."""
    path: Annotated[VaultPath, AfterValidator(_not_our_own), AfterValidator(_not_of_the_api)]
    """Path of the secret within the mount, as in `vault kv get -mount=secret PATH`."""
    namespace: VaultPath | None = None
    """Of Vault Enterprise, HCP or OpenBao."""
    auth: VaultLogin
    """How Rekey logs in."""
    ca: Pem | None = None
    """A private certificate authority, as PEM."""


Store = Annotated[SecretsManagerStore | VaultStore, Field(discriminator="type")]


class ConsumerPart(Part):
    """What every entry of `consumers` has."""

    name: ConsumerName
    optional: bool = False
    """True: the gate passes where this entry is not ready."""


class GitHubSecret(ConsumerPart):
    """An Actions secret of a repository, or of all repositories that a pattern matches."""

    model_config = ConfigDict(  # what `problems` says, for editors
        json_schema_extra={
            "oneOf": [
                {"required": ["repository"], "properties": {"repository": {"type": "string"}}},
                {"required": ["repositories"], "properties": {"repositories": {"type": "string"}}},
            ],
            "if": {"required": ["value"], "properties": {"value": {"const": "docker-config"}}},
            "then": {"required": ["exclusive"], "properties": {"exclusive": {"const": True}}},
        }
    )
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

    @staticmethod
    def problems(entry: Mapping[str, object]) -> Iterator[tuple[str | None, str]]:
        """Yield what is wrong between the keys of a written entry: a key (or None) and a message."""
        if (entry.get("repository") is None) == (entry.get("repositories") is None):
            yield None, "give either `repository` (one) or `repositories` (a pattern)"
        if entry.get("value") == "docker-config" and entry.get("exclusive") is not True:
            # It overwrites the whole secret, and GitHub cannot be asked what else is in it.
            yield "value", "`docker-config` needs `exclusive: true`: say so if the secret holds nothing else"


class EksCluster(Part):
    """A cluster of Amazon EKS, entered with the function's own role."""

    eks: Annotated[str, Shape(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", "the name of an EKS cluster")]


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
    secrets: Annotated[tuple[NamespacedName, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
    """`namespace/name` each."""
    create: bool = False


class WebhookConsumer(ConsumerPart):
    """A signed message to any automation tool, with a reference to the store and never the password."""

    type: Literal["webhook"]
    url: Address
    signing_key: CredentialRef
    """Field `key`: `whsec_` and base64 of 24 to 64 bytes (https://www.standardwebhooks.com)."""
    ca: Pem | None = None


Consumer = Annotated[GitHubSecret | KubernetesPullSecret | WebhookConsumer, Field(discriminator="type")]


class SnsNotifier(Part):
    """A message to an SNS topic for every event that tells."""

    type: Literal["sns"]
    topic: Annotated[
        str, Shape(r"^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$", "the ARN of an SNS topic")
    ]
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


SourceName = Annotated[
    str, Shape(r"^[a-z0-9][a-z0-9-]{0,62}$", "the name of a source: lower case letters, digits and hyphens, at most 63")
]


class Plan(Part):
    """One registry: what rotates, where the password is kept, who may ask for it, who gets it, who is told."""

    registry: Registry
    store: Store
    accepts: Annotated[
        dict[SourceName, Annotated[tuple[Reason, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]],
        Field(min_length=1, json_schema_extra={"additionalProperties": False}),
    ]
    """Source of a request → the reasons it may give. An event of any other source or reason is refused."""
    policy: Policy = Policy()
    consumers: Annotated[tuple[Consumer, ...], Field(min_length=1)]
    notify: tuple[Notifier, ...] = ()


def read(document: object) -> Plan:
    """Return the plan that a JSON document describes. Raises PlanInvalid with every problem and its exact key.

    Nothing is guessed: `"yes"` is no truth value, and a number is no text.
    """
    try:
        text = json.dumps(document, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise PlanInvalid([PlanProblem((), "must be a JSON document")]) from None
    problems = list(_between_keys(document))
    try:
        plan = Plan.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise PlanInvalid(problems_of(error, Plan, document) + problems) from None
    if problems:
        raise PlanInvalid(problems)
    return plan


def _between_keys(document: object) -> Iterator[PlanProblem]:
    """Yield what is wrong between keys. Looks at the document: there is no model yet if anything else is wrong."""
    if not isinstance(document, dict):
        return
    accepts, consumers = document.get("accepts"), document.get("consumers")
    for source, reasons in accepts.items() if isinstance(accepts, dict) else ():
        yield from given_twice(reasons, ("accepts", source))
    first: dict[str, int] = {}
    for number, entry in enumerate(consumers if isinstance(consumers, (list, tuple)) else ()):
        if not isinstance(entry, dict):
            continue
        name = entry.get("name")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            yield PlanProblem(("consumers", number, "name"), f"is the name of consumers[{first[name]}] already")
        yield from given_twice(entry.get("secrets"), ("consumers", number, "secrets"))
        if entry.get("type") == "github-secret":
            for key, message in GitHubSecret.problems(entry):
                where = ("consumers", number) if key is None else ("consumers", number, key)
                yield PlanProblem(where, message)
