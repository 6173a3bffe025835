"""The wire under hvac: Rekey's own HTTP client, and Vault's answers turned into our errors.

hvac's own adapters read the environment and `~/.vault-token`, follow redirects with the token in hand, want a private
authority as a file, and quote the server in their errors. What a status means is from
https://developer.hashicorp.com/vault/api-docs#http-status-codes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
from hvac.adapters import Adapter

from rekey import http
from rekey.errors import Denied, NotFound, NotSent, RekeyError, Unfit, Unintelligible, Unreachable

if TYPE_CHECKING:
    Base = Adapter[dict[str, Any]]
else:
    Base = Adapter

_NEEDS = {"GET": "read", "LIST": "list", "POST": "create and update", "PATCH": "patch", "DELETE": "delete"}
"""The capability of a policy that a method asks for: https://developer.hashicorp.com/vault/docs/concepts/policies."""
_PASSES = {
    "from non-versioned to versioned data": "is upgrading its key-value engine to version 2",
    "error making upstream request: error making request": "gets no answer from AWS's STS about the login",
    "Throttling": "is slowed down by AWS's STS, which it asks about the login",
}
"""What a 400 says where the request is right and only comes too early:
https://github.com/hashicorp/vault-plugin-secrets-kv/blob/v0.25.0/upgrade.go,
https://github.com/hashicorp/vault/blob/v1.21.2/builtin/credential/aws/path_login.go."""
_EMPTY = httpx.codes.NO_CONTENT


class Absent(NotFound):
    """404. Never leaves the adapter as it is: each caller knows what is missing."""

    def __init__(self, said: str, answer: Mapping[str, Any]) -> None:
        super().__init__(said)
        self.answer = answer
        """Vault's JSON: of a deleted version there is what is left of it."""

    @property
    def nobody_serves_it(self) -> bool:
        """Whether no engine answered: of a key that does not exist Vault has no error to tell."""
        return bool(self.answer.get("errors"))


class Refused(Unfit):
    """400: the request itself is wrong, or its check-and-set does not match. Never leaves the adapter as it is."""


class Wire(Base):
    """Sends hvac's requests to one server, each of them again once where no answer came: all of them may be repeated.

    Raises Absent, Refused, Denied, Unfit, Unintelligible, Unreachable, NotSent.
    """

    def __init__(self, client: httpx.Client, service: str, namespace: str | None) -> None:
        self._client = client
        self.service = service
        self.namespace = namespace
        self.token = None

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002, FBT001, FBT002 (hvac's own signature)
        **kwargs: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Return the JSON object that is answered; an empty one where there is none."""
        sent = {"X-Vault-Request": "true", **(headers or {})}
        if self.namespace:
            sent["X-Vault-Namespace"] = self.namespace
        if self.token:
            sent["X-Vault-Token"] = self.token
        try:
            return self._sent(method.upper(), url, sent, kwargs)
        except NotSent:
            raise
        except Unreachable:
            return self._sent(method.upper(), url, sent, kwargs)

    def get_login_token(self, response: Mapping[str, Any]) -> str:
        """Return the token out of the answer to a login. Raises Unintelligible where there is none that can be sent."""
        auth = response.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or http.bearer(token) is None:
            raise Unintelligible(f"{self.service} answered the login without a token")
        return token

    def _sent(self, method: str, url: str, headers: Mapping[str, str], content: Mapping[str, Any]) -> dict[str, Any]:
        doing = f"{method} {url.removeprefix('/v1/')}"
        with http.answering(self.service):
            response = self._client.request(method, url, headers=headers, **content)
        if not response.is_success:
            raise self._error(response, method, doing)
        return {} if response.status_code == _EMPTY else http.json_object(response, self.service, doing)

    def _error(self, response: httpx.Response, method: str, doing: str) -> RekeyError:
        """Return what an answer means, without a word of its body."""
        status = response.status_code
        if response.is_redirect:
            return Unreachable(
                f"{self.service} is a standby that sends its callers to another address, and a token goes to none: "
                "let the plan's `address` lead to the active server"
            )
        if status == httpx.codes.BAD_REQUEST:
            passes = next((meant for said, meant in _PASSES.items() if said in response.text), None)
            if passes is not None:
                return Unreachable(f"{self.service} {passes}: {doing} was turned away")
            return Refused(f"{self.service} answered 400 to {doing}")
        if status == httpx.codes.FORBIDDEN:
            path = doing.partition(" ")[2]
            return Denied(
                f'{self.service} refuses "{_NEEDS.get(method, method)}" on `{path}`: give it to the policy of Rekey\'s '
                "login (the README has the whole policy); a mount or namespace that does not exist is refused so too"
            )
        if status == httpx.codes.NOT_FOUND:
            return self._absent(response, doing)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return Unreachable(
                f"{self.service}: a rate-limit quota is used up, so {doing} was turned away: raise the quota if this "
                "goes on"
            )
        if response.is_server_error:
            return Unreachable(f"{self.service} {self._not_now() or f'answered {status} to {doing}'}")
        return Unintelligible(f"{self.service} answered {status} to {doing}")

    def _absent(self, response: httpx.Response, doing: str) -> RekeyError:
        try:  # to a PATCH of a key that does not exist there is nothing, and it is called JSON
            empty = not response.content and response.headers.get("content-type") == "application/json"
            answer = {} if empty else http.json_object(response, self.service, doing)
        except Unintelligible:
            return Unfit(
                f"{self.service} answered 404 to {doing}, and not as Vault does: does the plan's `address` lead to it?"
            )
        return Absent(f"{self.service} answered 404 to {doing}", answer)

    def _not_now(self) -> str:
        """Return why Vault serves nobody now, as its health says; nothing where it is well, or does not tell.

        It is asked without token and namespace: https://developer.hashicorp.com/vault/api-docs/system/health.
        """
        try:
            with http.answering(self.service):
                response = self._client.get("/v1/sys/health")
            health = http.json_object(response, self.service, "GET sys/health")
        except RekeyError:
            return ""
        if health.get("initialized") is False:
            return "is not initialised: `vault operator init`"
        if health.get("sealed") is True:
            return "is sealed: unseal it (`vault operator unseal`), and Rekey goes on"
        if health.get("standby") is True:
            return "is a standby that reaches no active server: let the plan's `address` lead to the active one"
        return ""
