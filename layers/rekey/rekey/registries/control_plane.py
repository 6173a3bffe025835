"""A registry's own API, as a plan describes it: sign in, ask whether it is well, send the one reset call."""

import re
from dataclasses import dataclass, field

import httpx

from rekey import http, runtime
from rekey.contracts import Answer
from rekey.errors import Denied, NotFound, NotSent, Unintelligible
from rekey.model.origin import Origin
from rekey.model.password import ESCROW_LIMIT, Password
from rekey.model.plan import HttpApi, SignIn
from rekey.registries.claims import end_of
from rekey.registries.pointer import resolve
from rekey.secrets import Credential, Secrets

_EARLY = 60.0
"""Seconds before its end from which a token is not used any more."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_-]+)\}")


@dataclass(frozen=True)
class _Pass:
    """What is shown to the API."""

    authorization: str = field(repr=False)
    ends_at: float | None = None
    """Seconds since the epoch; None where it does not say."""

    def good_for(self, seconds: float) -> bool:
        return self.ends_at is None or runtime.now().timestamp() + seconds + _EARLY < self.ends_at


class ControlPlane:
    """The API of one registry, entered with Rekey's own credential, which is fetched when it is first needed."""

    def __init__(self, api: HttpApi, secrets: Secrets) -> None:
        self._api = api
        self._secrets = secrets
        self._pass: _Pass | None = None
        self._service = f"the registry's API at {Origin.parse(api.url).netloc}"

    def check(self) -> None:
        """Prove that the API is well and takes the credential.

        Raises CredentialUnusable, Denied, NotFound, Unfit, Unintelligible, Unreachable, and says what to mend.
        """
        doing = f"GET {self._api.health}"
        with self._client() as client:
            response = self._health(client)
            if response.status_code == httpx.codes.UNAUTHORIZED and self._api.sign_in is not None:
                self._pass = None  # ended early, on the other side
                response = self._health(client)
        try:
            http.expect(response, self._service, doing)
        except Denied as error:
            raise Denied(f"{error}: see what the credential {self._api.login.secret} may do there") from None
        except NotFound as error:
            raise NotFound(f"{error}: does the plan name the right path, or registry_id?") from None

    def prepare(self) -> None:
        """Have a pass that is good for the whole reset call. Raises as `check` does."""
        if self._pass is None or not self._pass.good_for(self._api.reset.timeout.total_seconds()):
            with self._client() as client:
                self._pass = self._enter(client)

    def reset(self) -> Answer:
        """Send the reset call once, over a connection of its own, with what `prepare` got.

        Returns whatever is answered, a redirect too; of the body one byte more than is kept. Raises NotSent where the
        call surely never left, Unreachable where the answer is missing or was cut off.
        """
        if self._pass is None:
            raise NotSent(f"{self._service}: nothing was sent: the call was not prepared")
        call = self._api.reset
        # Compressed, the answer would reach the escrow in a form that depends on its headers, which are not kept.
        headers = {
            "Authorization": self._pass.authorization,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        client = http.client(self._api.url, ca=self._api.ca, timeout=call.timeout)
        with (
            http.answering(self._service),
            client,
            client.stream(call.method, call.path, json=call.body, headers=headers) as response,
        ):
            return Answer(response.status_code, _start_of(response))

    def _client(self) -> httpx.Client:
        return http.client(self._api.url, ca=self._api.ca)

    def _health(self, client: httpx.Client) -> httpx.Response:
        if self._pass is None or not self._pass.good_for(0):
            self._pass = self._enter(client)
        headers = {"Authorization": self._pass.authorization, "Accept": "application/json"}
        with http.answering(self._service):
            return client.get(self._api.health, headers=headers)

    def _enter(self, client: httpx.Client) -> _Pass:
        credential = self._secrets.resolve(self._api.login, self._api.url)
        if self._api.sign_in is not None:
            return self._sign_in(client, self._api.sign_in, credential)
        if "token" in credential:
            return _Pass(f"Bearer {credential.token}")
        return _Pass(http.basic(credential["username"], Password(credential["password"])))

    def _sign_in(self, client: httpx.Client, call: SignIn, credential: Credential) -> _Pass:
        body = {key: _filled(value, credential) for key, value in call.body.items()}
        doing = f"the sign-in ({call.method} {call.path})"
        with http.answering(self._service):
            response = client.request(call.method, call.path, json=body, headers={"Accept": "application/json"})
        try:
            http.expect(response, self._service, doing)
        except Denied as error:
            raise Denied(f"{error}: is the credential {credential.name} still right?") from None
        try:
            token = resolve(http.json_object(response, self._service, doing), call.token_at)
        except LookupError:
            token = None
        authorization = http.bearer(token) if isinstance(token, str) else None
        if authorization is None:
            raise Unintelligible(f"{self._service} answered {doing} without a token at {call.token_at}")
        return _Pass(authorization, end_of(str(token)))


def _filled(value: str, credential: Credential) -> str:
    found = _PLACEHOLDER.fullmatch(value)
    return credential[found[1]] if found else value


def _start_of(response: httpx.Response) -> bytes:
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > ESCROW_LIMIT:
            break
    return body[: ESCROW_LIMIT + 1]
