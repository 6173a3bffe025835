"""Requests to the API (v1) of Gitea and Forgejo: with Rekey's own credential, with a user's password, or as nobody.

https://docs.gitea.com/api/
"""

import httpx

from rekey import http
from rekey.errors import Unintelligible
from rekey.model.origin import Origin
from rekey.model.password import Password
from rekey.model.plan import GiteaApi
from rekey.secrets import Secrets

BASE = "/api/v1"
NOT_TOLD = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
"""What who may not see something is answered."""
_PAGES = range(1, 21)
_A_PAGE = 50
"""Entries; a server may show fewer (`[api] MAX_RESPONSE_ITEMS`), and says how many there are."""
_NO_SECOND_HALF = "x-oauth-basic"
"""In the password's place, where a token is shown as Basic's user name (services/auth/basic.go)."""


class Client:
    """One server. Every method raises CredentialUnusable and Unreachable."""

    def __init__(self, api: GiteaApi, secrets: Secrets) -> None:
        self._api = api
        self._secrets = secrets
        self.service = f"Gitea's API at {Origin.parse(api.url).netloc}"

    def get(self, path: str, authorization: str) -> httpx.Response:
        """Return whatever is answered."""
        with http.answering(self.service), self._client() as client:
            return client.get(path, headers=headers(authorization))

    def patch(self, path: str, body: object, authorization: str) -> httpx.Response:
        """Send one change over a connection of its own, within the plan's `timeout`; return whatever is answered."""
        client = http.client(self._api.url, ca=self._api.ca, timeout=self._api.timeout)
        with http.answering(self.service), client:
            return client.patch(path, json=body, headers=headers(authorization))

    def pages(self, path: str, doing: str, authorization: str) -> list[dict[str, object]] | None:
        """Return the entries of a list, of `_PAGES` at the most; None where they are not shown.

        Raises Unintelligible, too.
        """
        found: list[object] = []
        for page in _PAGES:
            response = self.get(str(httpx.URL(path).copy_merge_params({"limit": _A_PAGE, "page": page})), authorization)
            if response.status_code in NOT_TOLD:
                return None
            more = self._list(response, doing)
            found += more
            total = response.headers.get("x-total-count", "")
            if not more or not total.isdecimal() or len(found) >= int(total):
                break
        return [entry for entry in found if isinstance(entry, dict)]

    def owner(self) -> str | None:
        """Return whose password the credential is; None for a token."""
        credential = self._secrets.resolve(self._api.login, self._api.url)
        return None if "token" in credential else credential["username"]

    def credential(self) -> str:
        """Return the header that shows Rekey's own credential."""
        credential = self._secrets.resolve(self._api.login, self._api.url)
        if "token" not in credential:
            return http.basic(credential["username"], Password(credential["password"]))
        return f"Bearer {credential.token}"

    def credential_as_basic(self) -> str:
        """Return the same as Basic, which some calls take alone."""
        credential = self._secrets.resolve(self._api.login, self._api.url)
        if "token" in credential:
            return http.basic(credential["token"], Password(_NO_SECOND_HALF))
        return http.basic(credential["username"], Password(credential["password"]))

    def _client(self) -> httpx.Client:
        return http.client(self._api.url, ca=self._api.ca)

    def _list(self, response: httpx.Response, doing: str) -> list[object]:
        http.expect(response, self.service, doing)
        try:
            found: object = response.json()
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list):
            raise Unintelligible(f"{self.service} answered with {doing} that is none")
        return found


def headers(authorization: str) -> dict[str, str]:
    """Return what every request shows."""
    return {"Authorization": authorization, "Accept": "application/json"}


def message(response: httpx.Response) -> str:
    """Return what an answer says in words; empty where it says nothing."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return ""
    said = document.get("message") if isinstance(document, dict) else None
    return said if isinstance(said, str) else ""
