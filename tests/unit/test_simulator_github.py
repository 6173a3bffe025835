"""The GitHub simulator refuses what the real one refuses, and somebody else's client (PyGithub) works against it."""

from __future__ import annotations

import base64
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import github
import httpx
import jwt
import nacl.public
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from openapi_core.exceptions import OpenAPIError

from tests.sandbox import faults
from tests.sandbox.github import GitHub
from tests.sandbox.github_schema import GitHubSchema
from tests.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.github_access import App, Permissions
    from tests.sandbox.wire import Json

SECRETS = "/repos/acme/web/actions/secrets"
READ_ONLY: Permissions = {"metadata": "read", "secrets": "read"}
METADATA: Permissions = {"metadata": "read"}


class Client(httpx.Client):
    """A plain client that seals as GitHub's documentation says."""

    def __init__(self, server: GitHub, token: str) -> None:
        super().__init__(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=5)

    def sealed(self, value: str) -> dict[str, str]:
        key = self.get(f"{SECRETS}/public-key").json()
        box = nacl.public.SealedBox(nacl.public.PublicKey(base64.b64decode(key["key"])))
        return {"encrypted_value": base64.b64encode(box.encrypt(value.encode())).decode(), "key_id": key["key_id"]}


@pytest.fixture
def server() -> Iterator[GitHub]:
    with GitHub() as server:
        server.add_repository("acme/web")
        server.add_repository("acme/api")
        yield server


@pytest.fixture
def client(server: GitHub) -> Iterator[Client]:
    with Client(server, server.access.create_token("acme")) as client:
        yield client


@pytest.fixture(scope="module")
def app_owner() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed(app: App, claims: dict[str, object] | None = None, key: str | None = None) -> dict[str, str]:
    now = int(time.time())
    usual = {"iss": str(app.id), "iat": now - 60, "exp": now + 300}
    token = jwt.encode(usual | (claims or {}), key or app.private_key, algorithm="RS256")
    return {"Authorization": f"Bearer {token}"}


def pygithub(server: GitHub, auth: github.Auth.Auth) -> github.Github:
    return github.Github(
        base_url=server.url, auth=auth, retry=None, seconds_between_requests=None, seconds_between_writes=None
    )


def test_pygithub_sets_a_secret_that_a_job_sees(server: GitHub) -> None:
    """Created, changed and read back by another's client; the sealed box is really opened."""
    server.set_secret("acme/web", "REGISTRY_PASSWORD", "old")
    with pygithub(server, github.Auth.Token(server.access.create_token("acme"))) as hub:
        repository = hub.get_repo("acme/web")
        before = repository.get_secret("REGISTRY_PASSWORD").updated_at
        repository.create_secret("REGISTRY_PASSWORD", 'n€w $"\\ value')
        repository.create_secret("OTHER", "x")
        assert repository.get_secret("REGISTRY_PASSWORD").updated_at > before
        assert [secret.name for secret in repository.get_secrets()] == ["OTHER", "REGISTRY_PASSWORD"]
    assert server.secret("acme/web", "registry_password") == 'n€w $"\\ value'
    assert [e.status for e in server.exchanges if e.request.method == "PUT"] == [204, 201]


def test_pygithub_works_as_an_app(server: GitHub) -> None:
    """An installation sees its repositories, page after page, and nobody else's."""
    for number in range(70):
        server.add_repository(f"acme/svc-{number}")
    server.add_repository("other/web")
    app = server.access.create_app()
    auth = github.Auth.AppAuth(app.id, app.private_key).get_installation_auth(server.access.install(app, "acme"))
    with pygithub(server, auth) as hub:
        integration = github.GithubIntegration(base_url=server.url, auth=github.Auth.AppAuth(app.id, app.private_key))
        assert integration.get_access_token(auth.installation_id).token.startswith("ghs_")
        integration.close()
        assert hub.get_repo("acme/svc-7").get_secrets().totalCount == 0
        assert len(list(hub.get_organization("acme").get_repos())) == 72
    assert len(server.requests("GET", "/orgs/acme/repos")) == 3


def test_pygithub_lists_what_a_person_sees(server: GitHub) -> None:
    server.add_repository("ann/tool", "User")
    with pygithub(server, github.Auth.Token(server.access.create_token("ann"))) as hub:
        assert [repository.full_name for repository in hub.get_user().get_repos()] == ["ann/tool"]
        with pytest.raises(github.UnknownObjectException):
            hub.get_organization("ann")


def test_an_installations_repositories_come_in_pages(server: GitHub) -> None:
    app = server.access.create_app()
    number = server.access.install(app, "acme", ["acme/web", "Acme/API"])
    token = httpx.post(f"{server.url}/app/installations/{number}/access_tokens", headers=signed(app)).json()
    assert token["repository_selection"] == "selected"
    with Client(server, token["token"]) as client:
        first = client.get("/installation/repositories?per_page=1")
        second = client.get(first.links["next"]["url"])
        assert first.json()["total_count"] == 2
        assert [page.json()["repositories"][0]["name"] for page in (first, second)] == ["web", "api"]
        assert "next" not in second.links
        assert client.get("/user/repos").status_code == 403


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": 1200}, "too far in the future"),
        ({"exp": -1}, "representing the future"),
        ({"iat": 600}, "'Issued at'"),
        ({"iat": None}, "'Issued at'"),
    ],
)
def test_an_apps_request_is_signed_for_ten_minutes_at_most(
    server: GitHub, claims: dict[str, int | None], message: str
) -> None:
    """The claims are seconds from now: the parameters are made long before the test runs."""
    now = int(time.time())
    app = server.access.create_app()
    number = server.access.install(app, "acme")
    moved: dict[str, object] = {claim: None if seconds is None else now + seconds for claim, seconds in claims.items()}
    answer = httpx.post(f"{server.url}/app/installations/{number}/access_tokens", headers=signed(app, moved))
    assert answer.status_code == 401
    assert message in answer.json()["message"]


def test_an_app_is_known_by_its_key_and_installation(server: GitHub, app_owner: rsa.RSAPrivateKey) -> None:
    app, other = server.access.create_app(), server.access.create_app()
    number = server.access.install(app, "acme")
    url = f"{server.url}/app/installations/{number}/access_tokens"
    forged = app_owner.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    assert httpx.post(url, headers=signed(app, key=forged)).status_code == 401
    assert httpx.post(url, headers=signed(app, {"iss": "nobody"})).status_code == 404
    assert httpx.post(url, headers=signed(other)).status_code == 404
    assert httpx.post(url).status_code == 401


def test_a_token_may_ask_for_less_and_not_for_more(server: GitHub) -> None:
    app = server.access.create_app()
    number = server.access.install(app, "acme", ["acme/web"], READ_ONLY)

    def ask(**body: object) -> httpx.Response:
        return httpx.post(f"{server.url}/app/installations/{number}/access_tokens", headers=signed(app), json=body)

    assert ask(repositories=["web"], permissions={"metadata": "read"}).json()["permissions"] == METADATA
    assert ask(permissions={"secrets": "read"}).json()["permissions"] == READ_ONLY
    assert ask(repositories=["api"]).status_code == 422
    assert ask(permissions={"secrets": "write"}).status_code == 422
    assert ask(repository_names=["web"]).status_code == 422


def test_tokens_end(server: GitHub) -> None:
    server.access.token_lifetime = -1
    app = server.access.create_app()
    number = server.access.install(app, "acme")
    token = httpx.post(f"{server.url}/app/installations/{number}/access_tokens", headers=signed(app)).json()["token"]
    revoked = server.access.create_token("acme")
    server.access.revoke(revoked)
    for bad in (token, revoked, "never-made"):
        with Client(server, bad) as client:
            answer = client.get(SECRETS)
        assert (answer.status_code, answer.json()["message"]) == (401, "Bad credentials")


def test_what_a_token_does_not_see_does_not_exist(server: GitHub) -> None:
    with Client(server, server.access.create_token("acme", ["acme/api"])) as client:
        assert client.get("/repos/acme/api").json()["full_name"] == "acme/api"
        for path in ("/repos/acme/web", SECRETS, f"{SECRETS}/public-key", "/repos/acme/none"):
            assert client.get(path).status_code == 404


@pytest.mark.parametrize(("permissions", "reads", "writes"), [(READ_ONLY, 200, 403), (METADATA, 403, 403)])
def test_rights_are_the_tokens(
    server: GitHub, client: Client, permissions: Permissions, reads: int, writes: int
) -> None:
    sealed = client.sealed("x")
    with Client(server, server.access.create_token("acme", permissions=permissions)) as weak:
        assert weak.get("/repos/acme/web").status_code == 200
        assert weak.get(SECRETS).status_code == reads
        refused = weak.put(f"{SECRETS}/NAME", json=sealed)
    assert refused.status_code == writes
    assert refused.json()["message"] == "Resource not accessible by personal access token"
    assert refused.headers["x-accepted-github-permissions"] == "secrets=write"


def test_what_is_sealed_for_an_old_key_is_refused(server: GitHub, client: Client) -> None:
    """The key may change between the two calls."""
    sealed = client.sealed("new")
    server.inject(faults.call(lambda _: server.rotate_key("acme/web")), when=lambda request: request.method == "PUT")
    assert client.put(f"{SECRETS}/NAME", json=sealed).status_code == 422
    assert client.put(f"{SECRETS}/NAME", json=client.sealed("new")).status_code == 201
    assert server.secret("acme/web", "NAME") == "new"


@pytest.mark.parametrize(
    "wrong",
    [
        {"encrypted_value": base64.b64encode(b"not sealed").decode()},
        {"encrypted_value": "not base64"},
        {"key_id": 5},
        {"value": "misspelt"},
        {"visibility": "all"},
    ],
)
def test_a_body_that_is_not_as_described_is_refused(server: GitHub, client: Client, wrong: dict[str, object]) -> None:
    answer = client.put(f"{SECRETS}/NAME", json=client.sealed("x") | wrong)
    assert answer.status_code == 422
    assert answer.json()["message"]
    with pytest.raises(KeyError):
        server.secret("acme/web", "NAME")


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        ({"key_id": "1", "key": "k"}, True),
        ({"key_id": "1", "key": "k", "kye": "k"}, False),
        ({"key": "k"}, False),
    ],
)
def test_an_answer_that_github_does_not_describe_is_our_own_error(answer: dict[str, Json], *, fits: bool) -> None:
    request = Request(1, "GET", f"{SECRETS}/public-key", httpx.QueryParams(), httpx.Headers(), b"")
    with nullcontext() if fits else pytest.raises(OpenAPIError):
        GitHubSchema().check(request, Response.json(answer))


def test_the_key_id_is_required(client: Client) -> None:
    answer = client.put(f"{SECRETS}/NAME", json={"encrypted_value": client.sealed("x")["encrypted_value"]})
    assert answer.status_code == 422
    assert "key_id" in answer.json()["message"]


def test_names_and_sizes_are_limited(client: Client) -> None:
    for name in ("1ST", "A-B", "GITHUB_X"):
        assert client.put(f"{SECRETS}/{name}", json=client.sealed("x")).status_code == 422
    assert client.put(f"{SECRETS}/BIG", json=client.sealed("x" * 50_000)).status_code == 422


def test_an_archived_repository_is_read_only(server: GitHub, client: Client) -> None:
    sealed = client.sealed("x")
    server.add_repository("acme/web", archived=True)
    assert client.get(SECRETS).status_code == 200
    assert client.put(f"{SECRETS}/NAME", json=sealed).status_code == 403


def test_secrets_are_listed_in_pages_and_never_shown(server: GitHub, client: Client) -> None:
    for number in range(35):
        server.set_secret("acme/web", f"S{number:02}", f"value-{number}")
    first = client.get(SECRETS)
    second = client.get(first.links["next"]["url"])
    names = [secret["name"] for page in (first, second) for secret in page.json()["secrets"]]
    assert names == [f"S{number:02}" for number in range(35)]
    assert first.json()["total_count"] == 35
    assert "value" not in first.text + second.text + client.get(f"{SECRETS}/s01").text
    assert client.get(f"{SECRETS}/NONE").status_code == 404


def test_the_primary_limit_counts_by_credential(server: GitHub, client: Client) -> None:
    server.limits.requests = 2
    answers = [client.get("/repos/acme/web") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert "API rate limit exceeded for user ID" in answers[-1].json()["message"]
    assert time.time() < int(answers[-1].headers["x-ratelimit-reset"]) <= time.time() + 3601
    with Client(server, server.access.create_token("acme")) as other:
        assert other.get("/repos/acme/web").status_code == 200


def test_the_secondary_limit_counts_five_points_a_write(server: GitHub, client: Client) -> None:
    server.limits.points = 7
    sealed = client.sealed("x")
    assert client.put(f"{SECRETS}/NAME", json=sealed).status_code == 201
    refused = client.put(f"{SECRETS}/NAME", json=sealed)
    assert refused.status_code == 403
    assert "secondary rate limit" in refused.json()["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    server.limits.retry_after, server.limits.status = False, 429
    again = client.get(SECRETS)
    assert again.status_code == 429
    assert "retry-after" not in again.headers
    assert server.secret("acme/web", "NAME") == "x"


def test_the_secondary_limit_counts_requests_at_once(server: GitHub, client: Client) -> None:
    server.limits.at_once = 0
    assert client.get(SECRETS).status_code == 403
    server.limits.at_once = 1
    assert client.get(SECRETS).status_code == 200


def test_a_limit_ends_with_its_window(server: GitHub, client: Client) -> None:
    server.limits.requests = 1
    assert [client.get(SECRETS).status_code for _ in range(2)] == [200, 403]
    server.limits.requests_window = 0
    assert client.get(SECRETS).status_code == 200


def test_what_is_not_simulated_is_not_there(client: Client) -> None:
    assert client.get("/repos/acme/web/actions/variables").status_code == 404
    assert client.delete(f"{SECRETS}/NAME").status_code == 404
    assert client.get("/orgs/nobody").status_code == 404
