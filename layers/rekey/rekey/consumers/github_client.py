"""The few calls of GitHub's REST API that Actions secrets of repositories need.

https://docs.github.com/en/rest/actions/secrets. Answers are read only as far as they are needed, and no error of ours
quotes one.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import httpx
from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox

from rekey import http
from rekey.consumers.github_token import GitHubTokens
from rekey.consumers.github_wire import GitHubWire
from rekey.consumers.shard import Shard, http_date
from rekey.errors import CredentialUnusable, Denied, NotFound, Unfit, Unintelligible
from rekey.model.moment import parse
from rekey.model.plan import GitHubSecret

_FULL_NAME = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Repository:
    """A repository as the credential sees it."""

    full_name: str
    archived: bool = False
    read_only: bool = False
    """Whether the token's user may not push: who may not push may not write secrets."""


@dataclass(frozen=True)
class SealingKey:
    """A repository's public key."""

    id: str
    key: str
    """Base64."""

    def seal(self, text: str) -> str:
        """Return the text sealed for GitHub, in base64. Raises Unintelligible where the key is none."""
        try:
            box = SealedBox(PublicKey(base64.b64decode(self.key, validate=True)))
        except (binascii.Error, ValueError, CryptoError):
            raise Unintelligible("GitHub's public key of the repository is not a Curve25519 key") from None
        return base64.b64encode(box.encrypt(text.encode())).decode()


class GitHubClient:
    """What one credential may see and write at one GitHub.

    Every method raises CredentialUnusable, Denied, Held, NotFound, Unintelligible, Unreachable, each with what to mend.
    """

    def __init__(self, part: GitHubSecret, shard: Shard) -> None:
        self._part = part
        self._wire = GitHubWire(part, shard)
        self._tokens = GitHubTokens(part, shard, self._wire)

    async def sign_in(self) -> None:
        """Take a token, so that what is wrong with the credential is said once for all repositories."""
        await self._tokens.current()

    async def repository(self, full_name: str) -> Repository:
        """Return one repository."""
        doing = f"looking at {full_name}"
        return self._repository(self._object(await self._asked("GET", f"/repos/{full_name}", doing, full_name), doing))

    async def repositories(self, owner: str) -> list[Repository]:
        """Return the repositories that the credential can see: all of this account, and maybe others'."""
        if self._tokens.of_an_app:
            return await self._listed("/installation/repositories")
        try:
            return await self._listed(f"/orgs/{owner}/repos")
        except NotFound:  # it is a person's account
            return await self._listed("/user/repos")

    async def secret_updated_at(self, full_name: str, secret: str) -> datetime | None:
        """Return when a secret was last written, or None where there is none."""
        doing = f"looking at the secret {secret} of {full_name}"
        response = await self._ask("GET", f"/repos/{full_name}/actions/secrets/{secret}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        answer = self._object(self._checked(response, doing, full_name), doing)
        try:
            return parse(str(answer["updated_at"]))
        except (KeyError, ValueError):
            raise Unintelligible(f"{self._wire.service} answered {doing} without a time") from None

    async def sealing_key(self, full_name: str) -> SealingKey:
        """Return the public key that values for this repository are sealed with."""
        doing = f"fetching the public key of {full_name}"
        path = f"/repos/{full_name}/actions/secrets/public-key"
        answer = self._object(await self._asked("GET", path, doing, full_name), doing)
        return SealingKey(str(answer.get("key_id")), str(answer.get("key")))

    async def prove_writing(self, full_name: str, secret: str) -> None:
        """Prove the right to write this secret, without writing.

        An installation's token was asked for with that right. What a plain token may do GitHub does not tell: so it is
        asked to write nothing at all. Rights are checked first (403, 404); then a request without a value is 422
        (https://github.com/octokit/request.js/issues/403).
        """
        if self._tokens.of_an_app:
            return
        response = await self._ask("PUT", f"/repos/{full_name}/actions/secrets/{secret}", {})
        if response.status_code != httpx.codes.UNPROCESSABLE_ENTITY:
            self._checked(response, f"the question whether the secret {secret} may be written", full_name)

    async def put_secret(self, full_name: str, secret: str, key: SealingKey, value: str) -> datetime | None:
        """Write a secret, creating it where there is none, and return the time by GitHub's clock where it says it.

        Raises Unfit where GitHub does not take it, which it does with a key that is no longer the repository's.
        """
        body = {"encrypted_value": key.seal(value), "key_id": key.id}
        path = f"/repos/{full_name}/actions/secrets/{secret}"
        response = await self._asked("PUT", path, f"writing the secret {secret} of {full_name}", full_name, body)
        return http_date(response.headers.get("date", ""))

    async def _listed(self, path: str) -> list[Repository]:
        doing, url, seen = "listing repositories", f"{path}?per_page=100", set[str]()
        found: list[Repository] = []
        while url not in seen:
            seen.add(url)
            response = await self._asked("GET", url, doing, path)
            try:
                answer = json.loads(response.content)
            except ValueError:
                answer = None
            page = answer.get("repositories") if isinstance(answer, dict) else answer
            if not isinstance(page, list):
                raise Unintelligible(f"{self._wire.service} answered {doing} with something that is no list")
            found += [self._repository(item) for item in page if isinstance(item, dict)]
            url = response.links.get("next", {}).get("url", url)
        return found

    async def _asked(
        self, method: str, url: str, doing: str, what: str, body: Mapping[str, object] | None = None
    ) -> httpx.Response:
        return self._checked(await self._ask(method, url, body), doing, what)

    async def _ask(self, method: str, url: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        token = await self._tokens.current()
        response = await self._wire.send(method, url, token.text, body)
        if response.status_code == httpx.codes.UNAUTHORIZED and self._tokens.renew(token):
            token = await self._tokens.current()
            response = await self._wire.send(method, url, token.text, body)
        return response

    def _checked(self, response: httpx.Response, doing: str, what: str) -> httpx.Response:
        said = f"{self._wire.service} answered {response.status_code} to {doing}"
        match response.status_code:
            case 301 | 307 | 308:
                raise NotFound(f"{said}: {what} was renamed or moved: write its new name in the plan")
            case 401:
                raise CredentialUnusable(
                    f"{said}: the token of the secret {self._part.auth.secret} was revoked or has ended: renew it there"
                )
            case 403:
                raise Denied(
                    f"{said}: the credential in {self._part.auth.secret} needs the repository permission `Secrets: "
                    "read and write` (a classic token: the scope `repo`), and its user must be allowed to push"
                )
            case 404:
                raise NotFound(
                    f"{said}: it does not exist, or the credential in {self._part.auth.secret} may not see it"
                )
            case 422:
                raise Unfit(f"{said}: it does not take the value as it was sent")
        return http.expect(response, self._wire.service, doing)

    def _object(self, response: httpx.Response, doing: str) -> dict[str, object]:
        return http.json_object(response, self._wire.service, doing)

    def _repository(self, described: Mapping[str, object]) -> Repository:
        full_name = str(described.get("full_name"))
        if not _FULL_NAME.fullmatch(full_name):
            raise Unintelligible(f"{self._wire.service} described a repository without a name")
        may = described.get("permissions")
        # They are a user's: for an installation GitHub shows `push: false` whatever it may do with secrets.
        read_only = not self._tokens.of_an_app and isinstance(may, dict) and may.get("push") is False
        return Repository(full_name, archived=described.get("archived") is True, read_only=read_only)
