"""Consumer: image pull secrets of a Kubernetes cluster, replaced in place.

Never deleted and created: pods fail in between. Only this registry's entries change, by compare-and-set on
`resourceVersion`; a mark of the generation keeps a late writer from putting an older password over a newer one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rekey.consumers.kubernetes_client import KubernetesClient
from rekey.consumers.outcome import ServiceErrors, receipt_for, receipt_of_unprepared
from rekey.consumers.pull_secret import PullSecret, blank, created
from rekey.consumers.shard import Shard
from rekey.contracts import Delivery, Prepared
from rekey.errors import Conflict, Denied, NotFound, Unfit
from rekey.model.plan import KubernetesPullSecret
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt

_WRITES = 5
"""Writes that may lose against somebody else's before this pass gives up."""


class KubernetesPullSecretConsumer:
    """One entry of type `kubernetes-pull-secret`. Its consumers are called `ENTRY/NAMESPACE/NAME`, a single one too."""

    def __init__(self, part: KubernetesPullSecret, shard: Shard) -> None:
        self._part = part
        self._shard = shard
        self._client = KubernetesClient(part, shard)

    async def prepare(self) -> Sequence[Prepared]:
        """Look at every secret and ask whether it may be written: one that is not ready says nothing of the next.

        Raises CredentialUnusable, Denied, NotFound, Unfit, Unreachable where the cluster cannot be entered.
        """
        await self._client.enter()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._prepare_one(place)) for place in self._part.secrets]
        return [task.result() for task in tasks]

    async def deliver(self, delivery: Delivery, prepared: Prepared) -> Receipt:
        """Write the password into one secret, and try again where somebody else was faster."""
        place = prepared.facts.get("secret")
        if place is None:
            return receipt_of_unprepared(prepared, self._part.type, self._shard.now())
        facts = {"secret": place}
        try:
            outcome = await self._write(place, delivery)
        except ServiceErrors as error:
            return receipt_for(error, prepared.consumer, self._part.type, self._shard.now(), facts)
        return Receipt(prepared.consumer, self._part.type, outcome, answered_at=self._shard.now(), facts=facts)

    async def verify(self, delivery: Delivery, receipt: Receipt) -> Receipt:
        """Read the secret back and compare."""
        if not receipt.outcome.done:
            return receipt
        place = receipt.facts["secret"]
        namespace, _, name = place.partition("/")
        try:
            manifest = await self._client.secret(namespace, name)
            found = None if manifest is None else PullSecret.read(place, manifest)
        except Unfit as error:
            return receipt.with_verdict(ConsumerVerdict.DIFFERS, f"{error}; find out what wrote it")
        except ServiceErrors as error:
            return receipt.with_verdict(ConsumerVerdict.UNKNOWN, f"it could not be read back: {error}")
        if found is None:
            return receipt.with_verdict(
                ConsumerVerdict.DIFFERS,
                f"the secret {place} is gone since it was written: find out what deletes it, create it, deliver again",
            )
        there = found.generation(delivery.registry)
        if there > delivery.generation:
            superseded = replace(receipt, outcome=ConsumerOutcome.SUPERSEDED)
            return superseded.with_verdict(ConsumerVerdict.UNKNOWN, f"the secret {place} has generation {there} now")
        if not found.holds(delivery):
            return receipt.with_verdict(
                ConsumerVerdict.DIFFERS,
                f"the secret {place} holds another password by now: find out what wrote it back, then deliver again",
            )
        return receipt.with_verdict(ConsumerVerdict.MATCHES)

    async def _prepare_one(self, place: str) -> Prepared:
        consumer = f"{self._part.name}/{place}"
        namespace, _, name = place.partition("/")
        warning = ""
        try:
            manifest = await self._client.secret(namespace, name)
            if manifest is None:
                await self._require_creatable(namespace, name)
            else:
                found = PullSecret.read(place, manifest)
                warning = found.warning()
                found.require_writable()
                found.require_entry(self._shard.registry, create=self._part.create)
                await self._require(verb="update", namespace=namespace, name=name)
        except ServiceErrors as error:
            return Prepared(consumer, {"secret": place}, problem=str(error), warning=warning)
        return Prepared(consumer, {"secret": place}, warning=warning)

    async def _require_creatable(self, namespace: str, name: str) -> None:
        if not self._part.create:
            raise NotFound(
                f"there is no secret {namespace}/{name} in {self._client.service}: create it, or say `create: true` in "
                "the plan"
            )
        await self._require(verb="create", namespace=namespace, name="")
        await self._client.try_create(namespace, blank(namespace, name))

    async def _require(self, *, verb: str, namespace: str, name: str) -> None:
        if not await self._client.may(verb, namespace, name):
            raise Denied(
                f"{self._client.service} does not let us {verb} the secret {name or 'that is missing'} in {namespace}: "
                f"add the verb `{verb}` on `secrets` to a Role there"
            )

    async def _write(self, place: str, delivery: Delivery) -> ConsumerOutcome:
        namespace, _, name = place.partition("/")
        for _ in range(_WRITES):
            manifest = await self._client.secret(namespace, name)
            try:
                if manifest is None:
                    await self._create(namespace, name, delivery)
                    return ConsumerOutcome.UPDATED
                found = PullSecret.read(place, manifest)
                found.require_entry(self._shard.registry, create=self._part.create)
                wanted = found.with_password(delivery)
                if found.is_as(wanted):
                    return ConsumerOutcome.UNCHANGED
                found.require_writable()
                if await self._replaced(namespace, name, wanted):
                    return ConsumerOutcome.UPDATED
            except Conflict:
                continue
        raise Conflict(
            f"the secret {place} was changed by something else in each of {_WRITES} tries: tried again later"
        )

    async def _replaced(self, namespace: str, name: str, wanted: Mapping[str, object]) -> bool:
        """Whether it could be replaced; not, where it was deleted since it was read. Raises NotFound if it is there."""
        try:
            await self._client.replace(namespace, name, wanted)
        except NotFound:
            if await self._client.secret(namespace, name) is not None:
                raise
            return False
        return True

    async def _create(self, namespace: str, name: str, delivery: Delivery) -> None:
        if not self._part.create:
            raise NotFound(f"the secret {namespace}/{name} is gone: create it, then deliver again")
        await self._client.create(namespace, created(namespace, name, delivery))
