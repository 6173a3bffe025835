"""Consumer: an Actions secret of a GitHub repository, or of every repository that a pattern matches.

GitHub never shows a secret's value, so that `written` is all that can be said of one. A secret is read when a run is
queued: runs queued before the update fail. Archived repositories are read only and run nothing: a pattern leaves them
out.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from rekey.consumers.docker_auths import config_key
from rekey.consumers.github_client import GitHubClient, Repository, SealingKey
from rekey.consumers.outcome import ServiceErrors, receipt_for, receipt_of_unprepared
from rekey.consumers.shard import Shard
from rekey.contracts import Delivery, Prepared
from rekey.errors import Denied, NotFound, Unfit
from rekey.model.moment import parse, render
from rekey.model.password import docker_config
from rekey.model.plan import GitHubSecret
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt

_ONE_WRITE = timedelta(seconds=15)
"""How far `updated_at` may be from the Date of the answer to the write: as long as a write may take, and some."""
_NAMES_SHOWN = 5


class GitHubSecretConsumer:
    """One entry of type `github-secret`. With a pattern its consumers are called `ENTRY/OWNER/REPOSITORY`."""

    def __init__(self, part: GitHubSecret, shard: Shard) -> None:
        self._part = part
        self._shard = shard
        self._client = GitHubClient(part, shard)

    async def prepare(self) -> Sequence[Prepared]:
        """Find the repositories that have the secret, fetch their public keys, prove the right to write.

        Raises CredentialUnusable, Denied, NotFound (no repository that has the secret), Unintelligible, Unreachable.
        """
        await self._client.sign_in()
        if self._part.repository is not None:
            return [await self._prepare_one(self._part.repository)]
        return await self._prepare_pattern(str(self._part.repositories))

    async def deliver(self, delivery: Delivery, prepared: Prepared) -> Receipt:
        """Seal the password and write it."""
        full_name = prepared.facts.get("repository")
        if full_name is None:
            return receipt_of_unprepared(prepared, self._part.type, self._shard.now())
        facts = {"repository": full_name}
        try:
            written_at = await self._write(full_name, self._value(delivery), prepared)
        except ServiceErrors as error:
            return receipt_for(error, prepared.consumer, self._part.type, self._shard.now(), facts)
        if written_at is not None:
            facts["written_at"] = render(written_at)
        return Receipt(
            prepared.consumer,
            self._part.type,
            ConsumerOutcome.UPDATED,
            answered_at=self._shard.now(),
            facts=facts,
        )

    async def verify(self, delivery: Delivery, receipt: Receipt) -> Receipt:  # noqa: ARG002 (it cannot be read back)
        """Ask when the secret was last written: `written` if that was by us."""
        if not receipt.outcome.done:
            return receipt
        full_name, secret = receipt.facts["repository"], self._part.secret
        try:
            updated_at = await self._client.secret_updated_at(full_name, secret)
        except ServiceErrors as error:
            return receipt.with_verdict(ConsumerVerdict.UNKNOWN, f"it could not be asked: {error}")
        if updated_at is None:
            return receipt.with_verdict(
                ConsumerVerdict.DIFFERS,
                f"the secret {secret} of {full_name} is gone since it was written: find out who deletes it, then "
                "deliver again",
            )
        written_at = receipt.facts.get("written_at")
        if written_at is not None and abs(updated_at - _whole_seconds(written_at)) > _ONE_WRITE:
            return receipt.with_verdict(
                ConsumerVerdict.DIFFERS,
                f"GitHub dates the secret {secret} of {full_name} {render(updated_at)}, and Rekey wrote it at "
                f"{written_at}: find out what else writes it, then deliver again",
            )
        return receipt.with_verdict(ConsumerVerdict.WRITTEN)

    async def _prepare_one(self, name: str) -> Prepared:
        prepared = Prepared(self._part.name, {"repository": name})
        try:
            repository = await self._client.repository(name)
            if repository.archived:
                raise Unfit(f"{name} is archived, so that nothing can be written: take it out of the plan")
            found = await self._look_at(self._part.name, repository)
            if found is None:
                raise NotFound(
                    f"{name} has no secret {self._part.secret}: create it there, or say `create: true` in the plan"
                )
            await self._client.prove_writing(name, self._part.secret)
        except ServiceErrors as error:
            return Prepared(prepared.consumer, prepared.facts, problem=str(error))
        return found

    async def _prepare_pattern(self, pattern: str) -> list[Prepared]:
        visible = await self._client.repositories(pattern.partition("/")[0])
        # GitHub's names differ by more than their case.
        matching = [one for one in visible if fnmatchcase(one.full_name.lower(), pattern.lower())]
        live = [one for one in matching if not one.archived]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._try_to_look_at(one)) for one in live]
        found = [prepared for task in tasks if (prepared := task.result()) is not None]
        if not found:
            raise NotFound(
                f"`repositories: {pattern}` matches no repository that has the secret {self._part.secret} (visible to "
                f"the credential: {len(visible)}, matching and not archived: {len(live)}): create it where it is "
                "wanted, or say `create: true`"
            )
        ready = next((one for one in found if not one.problem), None)
        if ready is not None:
            await self._client.prove_writing(ready.facts["repository"], self._part.secret)
        archived = [one.full_name for one in matching if one.archived]
        if archived:
            found[0] = Prepared(found[0].consumer, found[0].facts, found[0].problem, _left_out(archived))
        return found

    async def _try_to_look_at(self, repository: Repository) -> Prepared | None:
        consumer = f"{self._part.name}/{repository.full_name}"
        try:
            return await self._look_at(consumer, repository)
        except ServiceErrors as error:
            return Prepared(consumer, {"repository": repository.full_name}, problem=str(error))

    async def _look_at(self, consumer: str, repository: Repository) -> Prepared | None:
        """Return what is known of a repository; None where it has no such secret and shall not get one."""
        updated_at = await self._client.secret_updated_at(repository.full_name, self._part.secret)
        if updated_at is None and not self._part.create:
            return None
        if repository.read_only:
            raise Denied(
                f"the user of the token in {self._part.auth.secret} may not push to {repository.full_name}, and so not "
                "write its secrets: give it the role `write` there"
            )
        key = await self._client.sealing_key(repository.full_name)
        return Prepared(consumer, {"repository": repository.full_name, "key_id": key.id, "key": key.key})

    async def _write(self, full_name: str, value: str, prepared: Prepared) -> datetime | None:
        secret, facts = self._part.secret, prepared.facts
        if "key" in facts:
            try:
                return await self._client.put_secret(
                    full_name, secret, SealingKey(facts["key_id"], facts["key"]), value
                )
            except Unfit:
                pass  # the key has changed since: once more with the one of now
        return await self._client.put_secret(full_name, secret, await self._client.sealing_key(full_name), value)

    def _value(self, delivery: Delivery) -> str:
        if self._part.value == "docker-config":
            return docker_config(config_key(delivery.endpoint), delivery.username, delivery.password)
        return delivery.password.reveal()


def _whole_seconds(moment: str) -> datetime:
    return parse(moment).astimezone(UTC).replace(microsecond=0)


def _left_out(archived: list[str]) -> str:
    more = f" and {len(archived) - _NAMES_SHOWN} more" if len(archived) > _NAMES_SHOWN else ""
    return f"left out, since they are archived: {', '.join(archived[:_NAMES_SHOWN])}{more}"
