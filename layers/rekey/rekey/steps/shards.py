"""Shards: a plan's entries that use one credential at one host, as an execution's Maps run over them."""

from collections.abc import Sequence

from rekey.model.plan import Consumer, EksCluster, GitHubSecret, KubernetesPullSecret, Plan, WebhookConsumer
from rekey.model.rotation import Rotation
from rekey.records.folder import EntryState, ShardFile
from rekey.steps.bench import Bench

MOST_SHARDS = 40
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: what fits into one execution's history."""


def pin(bench: Bench, rotation: Rotation, plan: Plan, body: bytes) -> int:
    """Keep the plan, and its entries in shards that nobody has prepared; return how many those are."""
    folder = bench.folder(rotation.registry, rotation.generation)
    folder.pin_plan(body)
    shards = cut(plan.consumers)
    for number, entries in enumerate(shards):
        folder.save_shard(ShardFile(number, tuple(EntryState(entry.name) for entry in entries)))
    return len(shards)


def cut(consumers: Sequence[Consumer]) -> list[list[Consumer]]:
    """Cut a plan's entries into shards: all that use one credential at one host.

    An execution's history ends at 25,000 events, so above MOST_SHARDS several share one, and its rate limit.
    """
    places: dict[tuple[str, ...], list[Consumer]] = {}
    for entry in consumers:
        places.setdefault(_where(entry), []).append(entry)
    shards: list[list[Consumer]] = [[] for _ in range(min(len(places), MOST_SHARDS))]
    for number, entries in enumerate(places.values()):
        shards[number % MOST_SHARDS].extend(entries)
    return shards


def _where(entry: Consumer) -> tuple[str, ...]:
    match entry:
        case GitHubSecret():
            return (entry.type, entry.api, entry.auth.secret)
        case KubernetesPullSecret():
            cluster = entry.cluster
            if isinstance(cluster, EksCluster):
                return (entry.type, cluster.eks)
            return (entry.type, cluster.server, cluster.token.secret)
        case WebhookConsumer():
            return (entry.type, entry.url, entry.signing_key.secret)
