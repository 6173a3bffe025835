"""What GitHub is asked with: a plain token, or tokens of a GitHub App's installation.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
import jwt

from rekey import http
from rekey.consumers.github_wire import GitHubWire
from rekey.consumers.shard import Shard
from rekey.errors import CredentialUnusable, Denied, Unintelligible
from rekey.model.moment import parse
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

    def __init__(self, part: GitHubSecret, shard: Shard, wire: GitHubWire) -> None:
        self._part = part
        self._shard = shard
        self._wire = wire
        self._key = f"GitHub token of {part.auth.secret} at {part.api}"

    @property
    def of_an_app(self) -> bool:
        """Whether these are an installation's: then a token proves the right to write, since it is asked for with it.

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
            return Token(credential.token)
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
        # No more than is needed, and a proof: GitHub answers 422 where the installation does not grant it.
        wanted = {"permissions": {"metadata": "read", "secrets": "write"}}
        path = f"/app/installations/{installation}/access_tokens"
        response = await self._wire.send("POST", path, self._signed(credential), wanted)
        return self._token_in(response, credential)

    def _token_in(self, response: httpx.Response, credential: Credential) -> Token:
        service, doing = self._wire.service, "the request of a token"
        app = f"the app in the secret {credential.name}"
        match response.status_code:
            case 401:
                raise CredentialUnusable(f"{service} refuses {app}: check `app_id` and `private_key`")
            case 403:
                raise Denied(f"{service} refuses {app}: its installation may be suspended there")
            case 404:
                raise CredentialUnusable(f"{service} does not know {app}: check `app_id` and `installation_id`")
            case 422:
                raise Denied(
                    f"{service}: the installation of {app} does not grant `Secrets: read and write`: add it to the "
                    "app's repository permissions and accept it at the installation"
                )
        answer = http.json_object(http.expect(response, service, doing), service, doing)
        try:
            return Token(str(answer["token"]), parse(str(answer["expires_at"])))
        except (KeyError, ValueError):
            raise Unintelligible(f"{service} answered {doing} without a token or its end") from None

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
