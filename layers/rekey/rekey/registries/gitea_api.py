"""What the API of Gitea and Forgejo says of one user, and the call that sets its password.

What it answers was measured on Gitea 1.26, and read in its source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from rekey import http
from rekey.contracts import Answer
from rekey.errors import Denied, NotFound, NotSent, Unfit, Unintelligible
from rekey.model.password import Password
from rekey.model.plan import GiteaApi
from rekey.registries.gitea_client import BASE, Client, message
from rekey.secrets import Secrets

_OPENS_THE_REGISTRY = frozenset({"all", "read:package", "write:package"})
"""Scopes of a personal access token: https://docs.gitea.com/development/oauth2-provider#scopes."""


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
        self._username = username
        self._secret = api.login.secret
        self._client = Client(api, secrets)
        self._service = self._client.service
        self._authorization: str | None = None
        self._login_name: str | None = None
        name = quote(username, safe="")
        self._path, self._edit = f"{BASE}/users/{name}", f"{BASE}/admin/users/{name}"
        self.call = f"PATCH {self._edit}"

    def is_called(self, login: str) -> bool:
        """Whether this is the user's name: Gitea's names ignore case."""
        return login.casefold() == self._username.casefold()

    def owner(self) -> str | None:
        """Return whose password the credential is; None for a token. Raises CredentialUnusable, Unreachable."""
        return self._client.owner()

    def prepare(self) -> None:
        """Have all that the call needs. Raises as `user` does."""
        self._authorization = self._client.credential()
        self._login_name = self.user().login_name

    def user(self) -> User:
        """Return the user. Raises CredentialUnusable, Denied, NotFound, Unfit, Unintelligible, Unreachable."""
        doing = f"GET {self._path}"
        response = self._client.get(self._path, self._client.credential())
        if response.is_redirect:
            raise Unfit(f"{self._service} has no user {self._username} any more: renamed? Name it as it is called now")
        try:
            found = http.json_object(http.expect(response, self._service, doing), self._service, doing)
        except Denied as error:
            raise Denied(
                f"{error}: is the credential {self._secret} right, and does its token have read:user?"
            ) from None
        except NotFound as error:
            raise NotFound(f"{error}: does the plan name the right `username`?") from None
        return self._read(found, doing)

    def may_set(self) -> None:
        """Prove that the credential may set passwords, by a call that is no request to change anything.

        Its body is no object: Gitea looks at the rights first, and then answers 422. Raises as `user` does.
        """
        response = self._client.patch(self._edit, [], self._client.credential())
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            return
        doing = f"{self.call} without a change"
        try:
            http.expect(response, self._service, doing)
        except Denied as error:
            why = "must be a site administrator's, and a token needs the scope write:admin"
            raise Denied(f"{error}: the credential {self._secret} {why}") from None
        raise Unintelligible(f"{self._service} answered {response.status_code} to {doing}: is it a Gitea?")

    def tokens_that_open_the_registry(self, password: Password | None) -> Sequence[str] | None:
        """Return the names of the user's personal access tokens that may pull; None where they are not shown.

        Asked with Rekey's credential, else with the user's own password, where it is known. Gitea shows them to Basic
        alone.
        """
        shown = [self._client.credential_as_basic()]
        if password is not None:
            shown.append(http.basic(self._username, password))
        for authorization in shown:
            tokens = self._client.pages(f"{self._path}/tokens", "the list of personal access tokens", authorization)
            if tokens is not None:
                return [str(one.get("name")) for one in tokens if _opens_the_registry(one.get("scopes"))]
        return None

    def asks_for_totp(self) -> bool:
        """Whether the user is known to be asked for a one-time password at login (TOTP). Raises as `user` does.

        Gitea shows it to an administrator since 1.26, by a filter: who has it is in one of two lists. A server that
        knows no such filter has everybody in both, and tells nothing.
        """
        return self._listed(two_factor=True) and not self._listed(two_factor=False)

    def must_change(self, password: Password) -> bool:
        """Whether the user must change its password at the next sign-in: the API then refuses the right one.

        Nothing else shows it, not even to an administrator (services/convert/user.go).
        """
        response = self._client.get(f"{BASE}/user", http.basic(self._username, password))
        said = message(response)
        return response.status_code == httpx.codes.FORBIDDEN and said.startswith("You must change your password.")

    def set_password(self, password: Password) -> Answer:
        """Send the one call, once, over a connection of its own, with what `prepare` got.

        Returns whatever is answered, a redirect too. Raises NotSent, Unreachable.
        """
        if self._authorization is None or self._login_name is None:
            raise NotSent(f"{self._service}: nothing was sent: the call was not prepared")
        body = {
            # It must be there (422 without it), and means nothing for a local user; source 0 leaves it one.
            "login_name": self._login_name,
            "source_id": 0,
            "password": password.reveal(),
            # As when a user changes its own (routers/web/user/setting/account.go): whoever followed an earlier request
            # to change it would make another password than this one. Whether there is one cannot always be seen.
            "must_change_password": False,
        }
        response = self._client.patch(self._edit, body, self._authorization)
        return Answer(response.status_code, response.content)

    def _listed(self, *, two_factor: bool) -> bool:
        query = httpx.QueryParams({"q": self._username, "is_2fa_enabled": str(two_factor).lower()})
        path = f"{BASE}/admin/users?{query}"
        found = self._client.pages(path, "the list of users", self._client.credential())
        return any(self.is_called(str(one.get("login"))) for one in found or ())

    def _read(self, found: dict[str, object], doing: str) -> User:
        login, name, source = found.get("login"), found.get("login_name"), found.get("source_id")
        active, prohibited = found.get("active"), found.get("prohibit_login")
        if isinstance(login, str) and source is None:
            raise Unfit(
                f"{self._service} does not say which authentication source keeps the user's password (`source_id`), as "
                "Gitea does from 1.22 on: upgrade it, or reset by hand with registry type `manual`"
            )
        if not isinstance(login, str) or not isinstance(source, int) or not isinstance(active, bool):
            raise Unintelligible(f"{self._service} answered {doing} with something that is no user")
        return User(
            login=login,
            login_name=name if isinstance(name, str) and name else login,
            source_id=source,
            active=active,
            prohibit_login=prohibited is True,
        )


def _opens_the_registry(scopes: object) -> bool:
    """Whether a token with these scopes may pull. Before Gitea 1.20 none are shown, and every token may."""
    return not isinstance(scopes, list) or not _OPENS_THE_REGISTRY.isdisjoint(map(str, scopes))
