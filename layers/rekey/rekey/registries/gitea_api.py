"""The API (v1) of Gitea and Forgejo around one user.

https://docs.gitea.com/api/: what it answers was measured on Gitea 1.26, and read in its source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from rekey import http
from rekey.contracts import Answer
from rekey.errors import CredentialUnusable, Denied, NotFound, NotSent, Unfit, Unintelligible
from rekey.model.origin import Origin
from rekey.model.password import Password
from rekey.model.plan import GiteaApi
from rekey.secrets import Secrets

_BASE = "/api/v1"
_NOT_TOLD = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_OPENS_THE_REGISTRY = frozenset({"all", "read:package", "write:package"})
"""Scopes of a personal access token: https://docs.gitea.com/development/oauth2-provider#scopes."""
_PAGES = range(1, 21)
_A_PAGE = 50
"""Personal access tokens; a server may show fewer (`[api] MAX_RESPONSE_ITEMS`), and says how many there are."""
_NO_SECOND_HALF = "x-oauth-basic"
"""In the password's place, where a token is shown as Basic's user name (services/auth/basic.go)."""


@dataclass(frozen=True)
class User:
    """A user as Gitea shows it to an administrator."""

    login: str
    login_name: str
    source_id: int
    """Of the authentication source; 0: Gitea keeps the password itself."""
    active: bool
    prohibit_login: bool


class Users:
    """The API, entered with Rekey's own credential, about the plan's user alone."""

    def __init__(self, api: GiteaApi, username: str, secrets: Secrets) -> None:
        self._api = api
        self._username = username
        self._secrets = secrets
        self._authorization: str | None = None
        self._login_name: str | None = None
        name = quote(username, safe="")
        self._path, self._edit = f"{_BASE}/users/{name}", f"{_BASE}/admin/users/{name}"
        self._service = f"Gitea's API at {Origin.parse(api.url).netloc}"
        self.call = f"PATCH {self._edit}"

    def is_called(self, login: str) -> bool:
        """Whether this is the user's name: Gitea's names ignore case."""
        return login.casefold() == self._username.casefold()

    def owner(self) -> str | None:
        """Return whose password the credential is; None for a token. Raises CredentialUnusable, Unreachable."""
        credential = self._secrets.resolve(self._api.login, self._api.url)
        return None if "token" in credential else credential["username"]

    def prepare(self) -> None:
        """Have all that the call needs. Raises as `user` does."""
        self._authorization = self._shown()
        self._login_name = self.user().login_name

    def user(self) -> User:
        """Return the user. Raises CredentialUnusable, Denied, NotFound, Unfit, Unintelligible, Unreachable."""
        doing = f"GET {self._path}"
        response = self._get(self._path)
        secret = self._api.login.secret
        if response.is_redirect:
            raise Unfit(f"{self._service} has no user {self._username} any more: renamed? Name it as it is called now")
        try:
            found = http.json_object(http.expect(response, self._service, doing), self._service, doing)
        except Denied as error:
            raise Denied(f"{error}: is the credential {secret} right, and does its token have read:user?") from None
        except NotFound as error:
            raise NotFound(f"{error}: does the plan name the right `username`?") from None
        return self._read(found, doing)

    def may_set(self) -> None:
        """Prove that the credential may set passwords, by a call that is no request to change anything.

        Its body is no object: Gitea looks at the rights first, and then answers 422. Raises as `user` does.
        """
        with self._client() as client, http.answering(self._service):
            response = client.patch(self._edit, json=[], headers=self._headers(self._shown()))
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            return
        doing = f"{self.call} without a change"
        try:
            http.expect(response, self._service, doing)
        except Denied as error:
            why = "must be a site administrator's, and a token needs the scope write:admin"
            raise Denied(f"{error}: the credential {self._api.login.secret} {why}") from None
        raise Unintelligible(f"{self._service} answered {response.status_code} to {doing}: is it a Gitea?")

    def tokens_that_open_the_registry(self, password: Password | None) -> Sequence[str] | None:
        """Return the names of the user's personal access tokens that may pull; None where they are not shown.

        Asked with Rekey's credential, else with the user's own password, where it is known. Gitea shows them to Basic
        alone.
        """
        for authorization in self._basics(password):
            tokens = self._tokens(authorization)
            if tokens is not None:
                return [str(one.get("name")) for one in tokens if _OPENS_THE_REGISTRY & set(one.get("scopes") or [])]
        return None

    def _tokens(self, authorization: str) -> list[dict[str, Any]] | None:
        """Return the user's personal access tokens, of `_PAGES` at the most; None where they are not shown."""
        found: list[object] = []
        for page in _PAGES:
            response = self._get(f"{self._path}/tokens?limit={_A_PAGE}&page={page}", authorization)
            if response.status_code in _NOT_TOLD:
                return None
            more = self._list(response)
            found += more
            total = response.headers.get("x-total-count", "")
            if not more or not total.isdecimal() or len(found) >= int(total):
                break
        return [token for token in found if isinstance(token, dict)]

    def must_change(self, password: Password) -> bool:
        """Whether the user must change its password at the next sign-in: the API then refuses the right one."""
        response = self._get(f"{_BASE}/user", http.basic(self._username, password))
        if response.status_code != httpx.codes.FORBIDDEN:
            return False
        document = http.json_object(response, self._service, f"GET {_BASE}/user as the user")
        return str(document.get("message")).startswith("You must change your password.")

    def set_password(self, password: Password) -> Answer:
        """Send the one call, once, over a connection of its own, with what `prepare` got.

        Returns whatever is answered, a redirect too. Raises NotSent, Unreachable.
        """
        if self._authorization is None or self._login_name is None:
            raise NotSent(f"{self._service}: nothing was sent: the call was not prepared")
        # `login_name` must be there (422 without it), and means nothing for a local user; source 0 leaves it one.
        body = {"login_name": self._login_name, "source_id": 0, "password": password.reveal()}
        headers = self._headers(self._authorization)
        client = http.client(self._api.url, ca=self._api.ca, timeout=self._api.timeout)
        with http.answering(self._service), client:
            response = client.patch(self._edit, json=body, headers=headers)
        return Answer(response.status_code, response.content)

    def _client(self) -> httpx.Client:
        return http.client(self._api.url, ca=self._api.ca)

    def _get(self, path: str, authorization: str | None = None) -> httpx.Response:
        headers = self._headers(authorization or self._shown())
        with http.answering(self._service), self._client() as client:
            return client.get(path, headers=headers)

    def _headers(self, authorization: str) -> dict[str, str]:
        return {"Authorization": authorization, "Accept": "application/json"}

    def _shown(self) -> str:
        credential = self._secrets.resolve(self._api.login, self._api.url)
        if "token" not in credential:
            return http.basic(credential["username"], Password(credential["password"]))
        authorization = http.bearer(credential["token"])
        if authorization is None:
            raise CredentialUnusable(f"the field `token` of the secret {credential.name} is no token")
        return authorization

    def _basics(self, password: Password | None) -> list[str]:
        """Return what may be shown as Basic."""
        credential = self._secrets.resolve(self._api.login, self._api.url)
        if "token" in credential:
            found = [http.basic(credential["token"], Password(_NO_SECOND_HALF))]
        else:
            found = [http.basic(credential["username"], Password(credential["password"]))]
        return found if password is None else [*found, http.basic(self._username, password)]

    def _read(self, found: dict[str, object], doing: str) -> User:
        login, name, source = found.get("login"), found.get("login_name"), found.get("source_id")
        active, prohibited = found.get("active"), found.get("prohibit_login")
        if not isinstance(login, str) or not isinstance(source, int) or not isinstance(active, bool):
            raise Unintelligible(f"{self._service} answered {doing} with something that is no user")
        return User(
            login=login,
            login_name=name if isinstance(name, str) and name else login,
            source_id=source,
            active=active,
            prohibit_login=prohibited is True,
        )

    def _list(self, response: httpx.Response) -> list[object]:
        doing = "the list of personal access tokens"
        http.expect(response, self._service, doing)
        try:
            found: object = response.json()
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list):
            raise Unintelligible(f"{self._service} answered with {doing} that is none")
        return found
