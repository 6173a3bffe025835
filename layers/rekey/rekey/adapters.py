"""The one table of adapters: kind and type → where the class is. Imported on first use: an import costs time."""

from importlib import import_module
from typing import Literal

Kind = Literal["registry", "store", "consumer", "notifier"]

_TABLE: tuple[tuple[Kind, str, str], ...] = (
    ("registry", "http", "rekey.registries.http:HttpRegistry"),
    ("registry", "cloudraya", "rekey.registries.cloudraya:CloudRayaRegistry"),
    ("registry", "harbor", "rekey.registries.harbor:HarborRegistry"),
    ("registry", "gitea", "rekey.registries.gitea:GiteaRegistry"),
    ("registry", "manual", "rekey.registries.manual:ManualRegistry"),
    ("store", "secrets-manager", "rekey.stores.secrets_manager:SecretsManagerStore"),
    ("store", "vault", "rekey.stores.vault:VaultStore"),
    ("consumer", "github-secret", "rekey.consumers.github_secret:GitHubSecretConsumer"),
    ("consumer", "kubernetes-pull-secret", "rekey.consumers.kubernetes_pull_secret:KubernetesPullSecretConsumer"),
    ("consumer", "webhook", "rekey.consumers.webhook:WebhookConsumer"),
    ("notifier", "sns", "rekey.notifiers.sns:SnsNotifier"),
)


def index(table: tuple[tuple[Kind, str, str], ...]) -> dict[tuple[Kind, str], str]:
    """Return the table as a mapping. Raises ValueError where a kind and type stand twice."""
    found: dict[tuple[Kind, str], str] = {}
    for kind, name, target in table:
        if (kind, name) in found:
            raise ValueError(f"two adapters for {kind} {name}: {found[kind, name]} and {target}")
        found[kind, name] = target
    return found


ADAPTERS = index(_TABLE)


def load(kind: Kind, name: str) -> type:
    """Return the adapter's class. The plan's own types are the only names that reach this."""
    module, _, attribute = ADAPTERS[kind, name].partition(":")
    adapter: type = getattr(import_module(module), attribute)
    return adapter
