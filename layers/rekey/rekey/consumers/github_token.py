"""What GitHub is asked with: a plain token, or tokens of a GitHub App's installation.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import jwt

from rekey import http
from rekey.consumers.shard import Shard
from rekey.errors import CredentialUnusable, Denied, Unintelligible
from rekey.model.moment import parse
from rekey.model.origin import Origin
from rekey.model.plan import GitHubSecret
from rekey.secrets import Credential

_CLOCKS_DIFFER = timedelta(seconds=60)
_JWT_LIFETIME = timedelta(minutes=9)
"""From now on; GitHub takes no more than ten minutes."""
_RENEW_BEFORE = timedelta(minutes=2)


@dataclass(frozen=True)
class Token:
    """A bearer token. `expires_at` is None where it has no end that we know."""

    text: str = field(repr=False)
    expires_at: datetime | None = None


class GitHubTokens:
    """The tokens of one credential; an installation's is taken once a shard and renewed before it ends."""

    def __init__(self, part: GitHubSecret, shard: Shard) -> None:
        self._part = part
        self._shard = shard
        self._key = f"GitHub token of {part.auth.secret} at {part.api}"
        self._service = f"GitHub ({Origin.parse(part.api).netloc})"

    def prove_writing(self) -> bool:
        """Whether a token from here is a proof of the right to write: an installation's is asked for with it.

        Raises CredentialUnusable, Unreachable as `Secrets.resolve` does.
        """
        return "token" not in self._credential()

    async def current(self) -> Token:
        """Return a token that is good for two more minutes.

        Raises CredentialUnusable (GitHub does not know the app, its key or the installation), Denied (the installation
        does not grant the right to write secrets), Held, Unintelligible, Unreachable.
        """
        credential = self._credential()
        if "token" in credential:
            return Token(credential["token"])
        return await self._shard.once(self._key, lambda: self._of_installation(credential), self._lasts)

    def renew(self, refused: Token) -> bool:
        """Let `current` take a new one after GitHub refused this one; False where there is none but this."""
        if refused.expires_at is None:
            return False
        self._shard.forget(self._key, refused)
        return True

    def _lasts(self, token: Token) -> bool:
        return token.expires_at is None or token.expires_at - self._shard.now() > _RENEW_BEFORE

    def _credential(self) -> Credential:
        credential = self._shard.credential(self._part.auth, self._part.api)
        if "token" not in credential and "app_id" not in credential:
            raise CredentialUnusable(
                f"the secret {credential.name} has neither `token` nor the fields of a GitHub App: `app_id`, "
                "`installation_id`, `private_key`"
            )
        return credential

    async def _of_installation(self, credential: Credential) -> Token:
        installation = credential["installation_id"]
        if not (installation.isascii() and installation.isdigit()):
            raise CredentialUnusable(f"`installation_id` of the secret {credential.name} is not a number")
        client = self._shard.client(self._part.api, self._part.ca)
        request = client.build_request(
            "POST",
            f"/app/installations/{installation}/access_tokens",
            # No more than is needed, and a proof: GitHub answers 422 where the installation does not grant it.
            json={"permissions": {"metadata": "read", "secrets": "write"}},
            headers={"Authorization": f"Bearer {self._signed(credential)}", "Accept": "application/vnd.github+json"},
        )
        response = await self._shard.send(client, request, self._service, cost=5)
        known = f"{self._service} does not know the app in the secret {credential.name}"
        match response.status_code:
            case 401:
                raise CredentialUnusable(f"{known}: check `app_id` and `private_key`")
            case 404:
                raise CredentialUnusable(f"{known}, or not this installation: check `app_id` and `installation_id`")
            case 403:
                raise Denied(f"{self._service} lets the app's installation do nothing: it may be suspended there")
            case 422:
                raise Denied(
                    f"{self._service}: the app's installation does not grant `Secrets: read and write`: add it to the "
                    "app's repository permissions and accept it at the installation"
                )
        answer = http.json_object(
            http.expect(response, self._service, "a token's request"), self._service, "a token's request"
        )
        try:
            return Token(str(answer["token"]), parse(str(answer["expires_at"])))
        except (KeyError, ValueError):
            raise Unintelligible(f"{self._service} answered a token's request without token or end") from None

    def _signed(self, credential: Credential) -> str:
        now = self._shard.now()
        claims = {
            "iss": credential["app_id"],
            "iat": int((now - _CLOCKS_DIFFER).timestamp()),
            "exp": int((now + _JWT_LIFETIME).timestamp()),
        }
        try:
            return jwt.encode(claims, credential["private_key"], algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise CredentialUnusable(
                f"`private_key` of the secret {credential.name} is not an RSA key in PEM without a passphrase"
            ) from None
