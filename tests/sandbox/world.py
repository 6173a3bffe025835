"""The whole system on one machine: a stack of template.yaml, a real registry, its control plane, and what uses it.

`World` is the surroundings; `Company` is one registry in it, with a plan, a password in the store and in every
consumer, so that tests share a world and not a registry.
"""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.sandbox.aws import Cloud
from tests.sandbox.cloudraya import CloudRaya
from tests.sandbox.company import OTHER_REGISTRY, Company, ImageRegistry, Kind
from tests.sandbox.company_store import CompanyStore, InSecretsManager, StoreKind
from tests.sandbox.gitea import Gitea
from tests.sandbox.gitea_door import GiteaDoor
from tests.sandbox.github import GitHub
from tests.sandbox.harbor import Harbor
from tests.sandbox.harbor_robots import PREFIX
from tests.sandbox.images import namespace_of, push_samples
from tests.sandbox.kube_api import KubeApi
from tests.sandbox.kubernetes import Kubernetes
from tests.sandbox.kubernetes_door import KubernetesDoor
from tests.sandbox.readme_role import readme_rule
from tests.sandbox.registry import Registry
from tests.sandbox.token_registry import TokenRegistry
from tests.sandbox.vault_company import InVault
from tests.sandbox.vault_service import VaultService
from tests.sandbox.webhook_receiver import WebhookReceiver, new_secret
from tests.servers import table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.lambdas import HostSettings
    from tests.sandbox.wire import JsonObject

ROOT = Path(__file__).parents[2]
SHORT: Mapping[str, str] = {
    "ProveWithin": "2",
    "RefusalPause": "0.2",
    "EscrowWithin": "5",
    "DrainMargin": "1",
    "SnapshotWithin": "10",
    "AgainAfter": "1,1,2",
    "PassWait": "1",
    "RetryInterval": "1",
    "RetryMaxDelay": "2",
}
"""Seconds where production has minutes, as `sam deploy --parameter-overrides` would set them."""
ClusterKind = Literal["simulator", "kube-apiserver"]


class World:
    """Starts everything, as a context manager; Vault when the first company wants it.

    `store`: where companies keep their passwords that do not say so themselves.
    """

    def __init__(
        self,
        workdir: Path,
        overrides: Mapping[str, str] | None = None,
        settings: HostSettings | None = None,
        *,
        cluster: ClusterKind = "simulator",
        store: StoreKind = "secrets-manager",
    ) -> None:
        self._cluster = cluster
        self._exit = ExitStack()
        self._vault: VaultService | None = None
        self._store = store
        self._companies: dict[str, Company] = {}
        self._workdir = workdir
        self._overrides = {**SHORT, **(overrides or {})}
        self._settings = settings
        self._starting = threading.RLock()
        self._gitea_api: GiteaDoor | None = None
        self._token_registry: TokenRegistry | None = None

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            self.registry = starting.enter_context(Registry(table.fetch("registry", lambda _: None)))
            self.cloudraya = starting.enter_context(CloudRaya())
            self.harbor = starting.enter_context(Harbor())
            self.github = starting.enter_context(GitHub())
            self.kubernetes: KubernetesCluster = starting.enter_context(self._new_cluster(starting))
            self.webhook_key = new_secret()
            self.receiver = starting.enter_context(WebhookReceiver(self.webhook_key, read=self._read_reference))
            self.cloud = starting.enter_context(
                Cloud(
                    ROOT / "template.yaml",
                    workdir=self._workdir,
                    overrides=self._overrides,
                    settings=self._settings,
                )
            )
            self._exit = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    def _new_cluster(self, starting: ExitStack) -> KubernetesCluster:
        if self._cluster == "simulator":
            return Kubernetes()
        programs = [table.fetch(name, lambda _: None) for name in ("kube-apiserver", "etcd")]
        return KubernetesDoor(starting.enter_context(KubeApi(*programs)))

    @property
    def vault(self) -> VaultService:
        """The Vault, started when it is first asked for. Raises `ServerMissingError`."""
        if self._vault is None:
            self._vault = self._exit.enter_context(VaultService(table.find("vault")))
        return self._vault

    @property
    def bucket(self) -> str:
        """Name of the stack's bucket."""
        return self.cloud.stack.buckets[0].name

    @property
    def gitea(self) -> Gitea:
        """A Gitea, started when it is first asked for: it takes seconds."""
        return self.gitea_api.gitea

    @property
    def gitea_api(self) -> GiteaDoor:
        """The door before Gitea's API: it is Gitea's control plane, and faults strike here."""
        with self._starting:
            if self._gitea_api is None:
                gitea = self._exit.enter_context(Gitea(table.fetch("gitea", lambda _: None)))
                self._gitea_api = self._exit.enter_context(GiteaDoor(gitea))
            return self._gitea_api

    def clear_faults(self) -> None:
        """Lift every fault, of AWS and of every server that was started."""
        self.cloud.faults.clear()
        servers = (self.cloudraya, self.harbor, self.github, self.kubernetes, self.receiver, self._gitea_api)
        for server in servers:
            if server is not None:
                server.clear_faults()
        if self._vault is not None:
            self._vault.door.clear_faults()

    @property
    def token_registry(self) -> TokenRegistry:
        """A registry behind a token server, started when it is first asked for."""
        with self._starting:
            if self._token_registry is None:
                programs = (table.fetch(name, lambda _: None) for name in ("registry", "token-server"))
                self._token_registry = self._exit.enter_context(TokenRegistry(*programs))
            return self._token_registry

    def company(  # noqa: PLR0913 (everything a company may differ in)
        self,
        name: str,
        kind: Kind = "cloudraya",
        *,
        org: str = "",
        adopted: bool = True,
        registry: ImageRegistry | None = None,
        store: StoreKind | None = None,
    ) -> Company:
        """Set a company up: registry, images, control plane, consumers, credentials, plan.

        `adopted`: the store holds the password already; else nobody told it. `registry`: where its images are, if not
        where most companies' are. `store`: else the world's.
        """
        org = org or f"org-{name}"
        first, other, admin = (secrets.token_urlsafe(18) for _ in range(3))
        username = f"{PREFIX}shop+{name}" if kind == "harbor" else name
        place: ImageRegistry = registry or (self.gitea if kind == "gitea" else self.registry)
        place.add_user(username, first)
        # Gitea and the token server give a user what is under its own name.
        images = namespace_of(username) if place is self.registry else username
        push_samples(place.url, username, first, namespace=images)
        robot_id = self._manage(kind, name, first, admin, place)
        repositories = [f"{org}/web", f"{org}/svc-billing", f"{org}/svc-search"]
        for repository in repositories:
            self.github.add_repository(repository)
            self.github.set_secret(repository, "REGISTRY_PASSWORD", first)
        pull_secrets = [(f"{org}-shop", "registry"), (f"{org}-jobs", "registry")]
        rules = []
        for namespace, secret in pull_secrets:
            self.kubernetes.add_namespace(namespace)
            auths: JsonObject = {
                place.host: {"username": username, "password": first},
                OTHER_REGISTRY: {"username": "robot", "password": other},
            }
            self.kubernetes.add_pull_secret(namespace, secret, auths)
            rules.append(readme_rule(namespace, [secret]))
        company = Company(
            world=self,
            name=name,
            kind=kind,
            username=username,
            document={},
            registry=place,
            first_password=first,
            other_password=other,
            admin_password=admin,
            github_token=self.github.access.create_token(org),
            cluster_token=self.kubernetes.access.create_token(f"rekey-{name}", *rules),
            repositories=repositories,
            pull_secrets=pull_secrets,
            store=self._keep(name, store or self._store),
            robot_id=robot_id,
        )
        self._companies[name] = company
        self._credentials(company)
        company.topic = self.cloud.client("sns").create_topic(Name=f"rekey-{name}")["TopicArn"]
        company.document = self._document(company, org, images)
        if adopted:
            company.store.put({"username": username, "password": first})
        company.push_plan()
        return company

    def _keep(self, name: str, kind: StoreKind) -> CompanyStore:
        """Prepare the place for a company's password."""
        place = f"registries/{name}"
        if kind == "secrets-manager":
            return InSecretsManager(self.cloud, place)
        store = InVault(self.vault, self.cloud, name, place)
        self.put_credential(f"rekey/vault-{name}", name, self.vault.door.host, **store.login)
        return store

    def _manage(self, kind: Kind, name: str, password: str, admin: str, place: ImageRegistry) -> int:
        """Put a registry's user under its control plane; returns its number at Harbor."""
        if kind == "harbor":
            self.harbor.add_user(f"rekey-{name}", admin, {"read", "update"})
            return self.harbor.add_robot(name, password, project="shop", accounts=place).id
        if kind == "gitea":
            self.gitea.add_user(f"rekey-{name}", admin)
            self.gitea.change_user(f"rekey-{name}", admin=True)
            return 0
        self.cloudraya.add_login(f"rekey@{name}.example", admin)
        self.cloudraya.add_registry(name, name, place)
        return 0

    def put_credential(self, name: str, registry: str, host: str, **fields: str) -> None:
        """Store one of Rekey's own credentials, bound to a registry and a host."""
        document = {"registries": [registry], "hosts": [host], **fields}
        self.cloud.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(document))

    def _credentials(self, company: Company) -> None:
        name, password, kind = company.name, company.admin_password, company.kind
        if kind in ("harbor", "gitea"):
            host = self.harbor.host if kind == "harbor" else self.gitea_api.host
            self.put_credential(f"rekey/{name}-api", name, host, username=f"rekey-{name}", password=password)
        else:
            who = {"email": f"rekey@{name}.example", "password": password}
            self.put_credential(f"rekey/{name}-api", name, self.cloudraya.host, **who)
        self.put_credential(f"rekey/{name}-github", name, self.github.host, token=company.github_token)
        self.put_credential(f"rekey/{name}-cluster", name, self.kubernetes.host, token=company.cluster_token)
        self.put_credential(f"rekey/{name}-webhook", name, self.receiver.host, key=self.webhook_key)

    def _document(self, company: Company, org: str, images: str) -> dict[str, Any]:
        name, kind = company.name, company.kind
        registry: dict[str, Any] = {
            "name": name,
            "type": kind,
            "endpoint": company.registry.url,
            "username": company.username,
            "repositories": [f"{images}/{each}" for each in ("api", "web", "worker")],
            **({"token_host": company.registry.tokens.url} if isinstance(company.registry, TokenRegistry) else {}),
        }
        if kind == "manual":
            registry["where"] = "open the registry in the console and choose Change Password"
        elif kind in ("harbor", "gitea"):
            of_robot = {"robot_id": company.robot_id} if kind == "harbor" else {}
            registry["api"] = {
                "login": {"secret": f"rekey/{name}-api"},
                **of_robot,
                "url": self.harbor.url if kind == "harbor" else self.gitea_api.url,
                "timeout": "3s",
                "settle": "1s",
            }
        else:
            registry["api"] = {"login": {"secret": f"rekey/{name}-api"}, "registry_id": name, "url": self.cloudraya.url}
        github = {"type": "github-secret", "secret": "REGISTRY_PASSWORD", "api": self.github.url}
        github_auth = {"auth": {"secret": f"rekey/{name}-github"}}
        return {
            "registry": registry,
            "store": company.store.part,
            "accepts": {
                "siem": ["compromised"],
                "console": ["requested", "lost", "personnel_change"],
            },
            "consumers": [
                {"name": "web-ci", "repository": f"{org}/web", **github, **github_auth},
                {"name": "all-services", "repositories": f"{org}/svc-*", **github, **github_auth},
                {
                    "name": "prod-cluster",
                    "type": "kubernetes-pull-secret",
                    "cluster": {"server": self.kubernetes.url, "token": {"secret": f"rekey/{name}-cluster"}},
                    "secrets": [f"{namespace}/{secret}" for namespace, secret in company.pull_secrets],
                },
                {
                    "name": "deploy-bot",
                    "type": "webhook",
                    "url": f"{self.receiver.url}/hooks/{name}",
                    "signing_key": {"secret": f"rekey/{name}-webhook"},
                },
            ],
            "notify": [{"type": "sns", "topic": company.topic}],
        }

    def _read_reference(self, payload: JsonObject) -> str:
        """Read what a webhook's reference points at, as its receiver would."""
        data: Any = payload["data"]
        return str(self._companies[data["registry"]].store.look_up(data["store"])["password"])
