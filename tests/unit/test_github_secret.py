"""Consumer `github-secret` at the GitHub simulator: rights, patterns, keys that change, tokens that end, limits."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rekey.consumers.github_secret import GitHubSecretConsumer
from rekey.consumers.github_wire import limited_for
from rekey.contracts import Prepared
from rekey.errors import CredentialUnusable, Denied, NotFound
from rekey.model.plan import CredentialRef, GitHubSecret
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from tests.contract.world import REGISTRY, World, new_world
from tests.sandbox import faults
from tests.sandbox.github import GitHub
from tests.sandbox.github_access import READ_WRITE
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rekey.contracts import Delivery
    from tests.sandbox.github_access import Permissions

SECRET = "REGISTRY_PASSWORD"  # noqa: S105 - its name
READ_ONLY: Permissions = {"metadata": "read", "secrets": "read"}
METADATA: Permissions = {"metadata": "read"}
SOON = timedelta(seconds=5)
"""What is left to an invocation: more than a request takes, less than GitHub's limits ask for."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with new_world(monkeypatch) as world:
        yield world


@pytest.fixture
def server() -> Iterator[GitHub]:
    with GitHub() as server:
        server.add_repository("acme/web")
        server.set_secret("acme/web", SECRET, "before")
        yield server


@pytest.fixture
def token(world: World, server: GitHub) -> CredentialRef:
    return world.credential("token", server.url, token=server.access.create_token("acme"))


@pytest.fixture
def app(world: World, server: GitHub) -> CredentialRef:
    return app_with(world, server)


def app_with(
    world: World, server: GitHub, permissions: Permissions = READ_WRITE, fields: Mapping[str, str] | None = None
) -> CredentialRef:
    """Install an app on the account and keep its credential, some fields of it exchanged."""
    made = server.access.create_app()
    number = server.access.install(made, "acme", permissions=permissions)
    own = {"app_id": str(made.id), "installation_id": str(number), "private_key": made.private_key}
    return world.credential("app", server.url, **(own | dict(fields or {})))


def part(server: GitHub, auth: CredentialRef, **keys: object) -> GitHubSecret:
    where = {} if "repositories" in keys else {"repository": "acme/web"}
    document = {"name": "ci", "type": "github-secret", "secret": SECRET, "auth": auth, "api": server.url}
    return GitHubSecret.model_validate(document | where | keys)


def prepare(world: World, entry: GitHubSecret, deadline: datetime | None = None) -> list[Prepared]:
    async def act() -> list[Prepared]:
        async with world.shard(deadline) as shard:
            return list(await GitHubSecretConsumer(entry, shard).prepare())

    return asyncio.run(act())


def deliver(
    world: World,
    entry: GitHubSecret,
    prepared: list[Prepared],
    delivery: Delivery | None = None,
    deadline: datetime | None = None,
) -> list[Receipt]:
    async def act() -> list[Receipt]:
        async with world.shard(deadline) as shard:
            consumer = GitHubSecretConsumer(entry, shard)
            return await asyncio.gather(*(consumer.deliver(delivery or world.delivery(), one) for one in prepared))

    return asyncio.run(act())


def verify(world: World, entry: GitHubSecret, receipt: Receipt) -> Receipt:
    async def act() -> Receipt:
        async with world.shard() as shard:
            return await GitHubSecretConsumer(entry, shard).verify(world.delivery(), receipt)

    return asyncio.run(act())


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def soon() -> datetime:
    return datetime.now(UTC) + SOON


@pytest.mark.parametrize("kind", ["token", "app"])
def test_one_repository_is_called_as_its_entry(
    world: World, server: GitHub, request: pytest.FixtureRequest, kind: str
) -> None:
    entry, delivery = part(server, request.getfixturevalue(kind)), world.delivery()
    prepared = prepare(world, entry)
    assert [(one.consumer, one.problem) for one in prepared] == [("ci", "")]
    (receipt,) = deliver(world, entry, prepared, delivery)
    assert (receipt.consumer, receipt.outcome) == ("ci", ConsumerOutcome.UPDATED)
    assert server.secret("acme/web", SECRET) == delivery.password.reveal()
    assert verify(world, entry, receipt).verdict is ConsumerVerdict.WRITTEN


def test_a_docker_config_is_written_whole(world: World, server: GitHub, token: CredentialRef) -> None:
    entry, delivery = part(server, token, value="docker-config", exclusive=True), world.delivery()
    deliver(world, entry, prepare(world, entry), delivery)
    written = json.loads(server.secret("acme/web", SECRET))["auths"][REGISTRY.endpoint]
    assert (written["username"], written["password"]) == (REGISTRY.username, delivery.password.reveal())


def test_an_app_takes_a_token_for_secrets_alone(world: World, server: GitHub, app: CredentialRef) -> None:
    """Whatever else the installation grants; and one token is enough for a shard."""
    entry = part(server, app)
    prepare(world, entry)
    (taken,) = server.requests("POST")
    assert taken.json_object() == {"permissions": {"metadata": "read", "secrets": "write"}}


@pytest.mark.parametrize(
    ("permissions", "said"),
    [(READ_ONLY, "writ"), (METADATA, "looking at the secret")],
)
def test_a_token_without_rights_is_found_before_the_reset(
    world: World, server: GitHub, permissions: Permissions, said: str
) -> None:
    """Also a token that may read secrets and not write them; asking changes nothing."""
    auth = world.credential("weak", server.url, token=server.access.create_token("acme", permissions=permissions))
    (prepared,) = prepare(world, part(server, auth))
    assert said in prepared.problem
    assert "Secrets: read and write" in prepared.problem
    assert server.secret("acme/web", SECRET) == "before"


def test_a_pattern_with_a_token_without_rights_is_refused_as_a_whole(world: World, server: GitHub) -> None:
    auth = world.credential("weak", server.url, token=server.access.create_token("acme", permissions=READ_ONLY))
    with pytest.raises(Denied, match="Secrets: read and write"):
        prepare(world, part(server, auth, repositories="acme/*"))
    assert server.secret("acme/web", SECRET) == "before"


def test_an_app_without_rights_is_found_before_the_reset(world: World, server: GitHub) -> None:
    with pytest.raises(Denied, match="does not grant `Secrets: read and write`"):
        prepare(world, part(server, app_with(world, server, READ_ONLY)))


def test_a_user_who_may_not_push_is_found_before_the_reset(world: World, server: GitHub, token: CredentialRef) -> None:
    described = Response.json({"full_name": "acme/web", "archived": False, "permissions": {"push": False}})
    server.inject(faults.answer(described), when=lambda request: request.path == "/repos/acme/web")
    (prepared,) = prepare(world, part(server, token))
    assert "may not push to acme/web" in prepared.problem


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"app_id": "999999"}, "check `app_id` and `installation_id`"),
        ({"installation_id": "1"}, "check `app_id` and `installation_id`"),
        ({"installation_id": "../app"}, "`installation_id` of the secret rekey/app is not a number"),
        ({"private_key": "no key"}, "`private_key` of the secret rekey/app is not an RSA key"),
    ],
)
def test_an_app_that_github_does_not_know_is_named(
    world: World, server: GitHub, fields: dict[str, str], said: str
) -> None:
    with pytest.raises(CredentialUnusable, match=said):
        prepare(world, part(server, app_with(world, server, fields=fields)))


def test_a_key_of_another_kind_is_no_private_key_of_an_app(world: World, server: GitHub) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(CredentialUnusable, match="is not an RSA key"):
        prepare(world, part(server, app_with(world, server, fields={"private_key": key.decode()})))


def test_another_apps_key_is_refused(world: World, server: GitHub) -> None:
    other = server.access.create_app()
    with pytest.raises(CredentialUnusable, match="check `app_id` and `private_key`"):
        prepare(world, part(server, app_with(world, server, fields={"private_key": other.private_key})))


def test_a_suspended_installation_is_named(world: World, server: GitHub, app: CredentialRef) -> None:
    suspended = Response.json({"message": "This installation has been suspended"}, 403)
    server.inject(faults.answer(suspended), when=lambda request: request.method == "POST")
    with pytest.raises(Denied, match="its installation may be suspended"):
        prepare(world, part(server, app))


def test_a_credential_of_neither_kind_is_refused(world: World, server: GitHub) -> None:
    entry = part(server, world.credential("empty", server.url))
    with pytest.raises(CredentialUnusable, match="neither `token` nor the fields of a GitHub App"):
        prepare(world, entry)


@pytest.mark.parametrize("slip", ["\n", " ", "\u201d", "\u00e9"])
def test_a_token_that_no_header_can_carry_is_refused(world: World, server: GitHub, slip: str) -> None:
    """The error of the HTTP library would hold it."""
    entry = part(server, world.credential("slipped", server.url, token=world.new_secret().encode().hex() + slip))
    with pytest.raises(CredentialUnusable, match="the field `token` of the secret rekey/slipped is no token"):
        prepare(world, entry)


def test_a_missing_secret_is_not_created_unless_the_plan_says_so(
    world: World, server: GitHub, token: CredentialRef
) -> None:
    server.add_repository("acme/new")
    (prepared,) = prepare(world, part(server, token, repository="acme/new"))
    assert f"acme/new has no secret {SECRET}" in prepared.problem
    entry, delivery = part(server, token, repository="acme/new", create=True), world.delivery()
    (receipt,) = deliver(world, entry, prepare(world, entry), delivery)
    assert receipt.outcome is ConsumerOutcome.UPDATED
    assert server.secret("acme/new", SECRET) == delivery.password.reveal()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response(404), "it does not exist, or the credential in rekey/token may not see it"),
        (Response(301, b"", {"Location": "/repositories/1"}), "acme/web was renamed or moved"),
        (Response(401), "was revoked or has ended"),
        (Response.text("<html>", 200, "text/html"), "no JSON object"),
        (Response.json({}), "without a name"),
    ],
)
def test_a_repository_that_cannot_be_seen_is_a_problem(
    world: World, server: GitHub, token: CredentialRef, answer: Response, said: str
) -> None:
    server.inject(faults.answer(answer))
    (prepared,) = prepare(world, part(server, token))
    assert said in prepared.problem


def test_an_archived_repository_is_a_problem(world: World, server: GitHub, token: CredentialRef) -> None:
    server.add_repository("acme/old", archived=True)
    server.set_secret("acme/old", SECRET, "before")
    (prepared,) = prepare(world, part(server, token, repository="acme/old"))
    assert "acme/old is archived" in prepared.problem


@pytest.mark.parametrize("kind", ["token", "app"])
def test_a_pattern_matches_only_where_the_secret_is(
    world: World, server: GitHub, request: pytest.FixtureRequest, kind: str
) -> None:
    """Not a repository without it, not an archived one (which is said), not another name; case does not count."""
    for name in ("svc-a", "SVC-b", "svc-without", "svc-old", "other"):
        server.add_repository(f"acme/{name}", archived=name == "svc-old")
        if name != "svc-without":
            server.set_secret(f"acme/{name}", SECRET, "before")
    found = prepare(world, part(server, request.getfixturevalue(kind), repositories="Acme/Svc-*"))
    assert [one.consumer for one in found] == ["ci/acme/svc-a", "ci/acme/SVC-b"]
    assert [one.problem for one in found] == ["", ""]
    assert found[0].warning == "left out, since they are archived: acme/svc-old"


def test_a_pattern_with_create_adds_the_secret(world: World, server: GitHub, app: CredentialRef) -> None:
    server.add_repository("acme/svc-a")
    found = prepare(world, part(server, app, repositories="acme/svc-*", create=True))
    assert [one.consumer for one in found] == ["ci/acme/svc-a"]


@pytest.mark.parametrize("pattern", ["acme/nothing-*", "acme/svc-*", "elsewhere/*"])
def test_a_pattern_without_a_match_is_refused(world: World, server: GitHub, token: CredentialRef, pattern: str) -> None:
    server.add_repository("acme/svc-a")
    with pytest.raises(NotFound, match="matches no repository that has the secret"):
        prepare(world, part(server, token, repositories=pattern))


@pytest.mark.parametrize("kind", ["token", "app"])
def test_every_page_is_read(world: World, server: GitHub, request: pytest.FixtureRequest, kind: str) -> None:
    for number in range(230):
        server.add_repository(f"acme/svc-{number}")
    server.set_secret("acme/svc-229", SECRET, "before")
    entry = part(server, request.getfixturevalue(kind), repositories="acme/svc-2?9")
    assert [one.consumer for one in prepare(world, entry)] == ["ci/acme/svc-229"]


def test_a_persons_repositories_are_found_with_a_token(world: World, server: GitHub) -> None:
    """An account that is no organisation has no list of its own: the token's is used, of this owner alone."""
    server.add_repository("jane/web", "User")
    server.set_secret("jane/web", SECRET, "before")
    auth = world.credential("jane", server.url, token=server.access.create_token("jane"))
    server.inject(faults.answer(Response(404)), when=lambda request: request.path == "/orgs/jane/repos")
    assert [one.consumer for one in prepare(world, part(server, auth, repositories="jane/*"))] == ["ci/jane/web"]


def test_a_link_to_another_server_is_not_followed(world: World, server: GitHub, token: CredentialRef) -> None:
    """The next page may be on this server alone: no other gets the token."""
    with HttpServer() as elsewhere:
        page = Response.json([], 200, {"Link": f'<{elsewhere.url}/page2>; rel="next"'})
        server.inject(faults.answer(page))
        with pytest.raises(Denied, match="nothing was sent"):
            prepare(world, part(server, token, repositories="acme/*"))
        assert elsewhere.requests() == []


def test_a_link_in_a_circle_ends(world: World, server: GitHub, token: CredentialRef) -> None:
    circle = Response.json([], 200, {"Link": f'<{server.url}/orgs/acme/repos?per_page=100>; rel="next"'})
    server.inject(faults.answer(circle), times=None)
    with pytest.raises(NotFound, match="matches no repository"):
        prepare(world, part(server, token, repositories="acme/*"))
    assert len(server.requests()) == 2


def test_one_repository_that_fails_does_not_hide_the_others(world: World, server: GitHub, app: CredentialRef) -> None:
    for name in ("svc-a", "svc-b"):
        server.add_repository(f"acme/{name}")
        server.set_secret(f"acme/{name}", SECRET, "before")
    server.inject(faults.gateway_page(), when=lambda request: "svc-a" in request.path)
    found = prepare(world, part(server, app, repositories="acme/svc-*"))
    assert [bool(one.problem) for one in found] == [True, False]
    assert "502" in found[0].problem


def test_a_key_that_changed_since_is_fetched_again(world: World, server: GitHub, app: CredentialRef) -> None:
    """Sealed for the old key GitHub takes it not: it is sealed again, once."""
    entry, delivery = part(server, app), world.delivery()
    prepared = prepare(world, entry)
    server.rotate_key("acme/web")
    (receipt,) = deliver(world, entry, prepared, delivery)
    assert receipt.outcome is ConsumerOutcome.UPDATED
    assert server.secret("acme/web", SECRET) == delivery.password.reveal()
    assert len(server.requests("PUT")) == 2


def test_a_value_that_is_never_taken_fails(world: World, server: GitHub, app: CredentialRef) -> None:
    entry = part(server, app)
    prepared = prepare(world, entry)
    server.inject(faults.answer(Response(422)), when=is_put, times=None)
    (receipt,) = deliver(world, entry, prepared)
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert len(server.requests("PUT")) == 2


def test_a_key_that_is_none_is_not_sealed_for(world: World, server: GitHub, app: CredentialRef) -> None:
    entry = part(server, app)
    prepared = prepare(world, entry)
    broken = [Prepared(one.consumer, {**one.facts, "key": "bm9uZQ=="}) for one in prepared]
    (receipt,) = deliver(world, entry, broken)
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "not a Curve25519 key" in receipt.reason
    assert server.requests("PUT") == []


def test_the_key_known_since_prepare_saves_a_request(world: World, server: GitHub, token: CredentialRef) -> None:
    """After the reset one PUT is all: every request more would lengthen the credential gap."""
    entry = part(server, token)
    prepared = prepare(world, entry)
    before = len(server.requests())
    deliver(world, entry, prepared)
    assert [request.method for request in server.requests()[before:]] == ["PUT"]


def test_a_token_that_ended_is_renewed_once_for_all(world: World, server: GitHub, app: CredentialRef) -> None:
    """GitHub may refuse an installation's token before its time: twenty deliveries meet that with one new token."""
    for number in range(20):
        server.add_repository(f"acme/svc-{number}")
        server.set_secret(f"acme/svc-{number}", SECRET, "before")
    entry, delivery = part(server, app, repositories="acme/svc-*"), world.delivery()

    async def scenario() -> list[Receipt]:
        async with world.shard() as shard:
            consumer = GitHubSecretConsumer(entry, shard)
            prepared = await consumer.prepare()
            server.access.revoke(server.requests("GET")[0].bearer() or "")
            return await asyncio.gather(*(consumer.deliver(delivery, one) for one in prepared))

    assert {receipt.outcome for receipt in asyncio.run(scenario())} == {ConsumerOutcome.UPDATED}
    assert len(server.requests("POST")) == 2


def test_a_token_near_its_end_is_not_used(world: World, server: GitHub, app: CredentialRef) -> None:
    server.access.token_lifetime = 90
    prepare(world, part(server, app))
    bearers = [request.bearer() for request in server.requests("GET")]
    assert len(set(bearers)) == len(bearers)


def test_a_plain_token_that_was_revoked_fails_and_says_so(world: World, server: GitHub, token: CredentialRef) -> None:
    entry = part(server, token)
    prepared = prepare(world, entry)
    server.access.revoke(server.requests()[0].bearer() or "")
    (receipt,) = deliver(world, entry, prepared)
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "the token of the secret rekey/token was revoked or has ended" in receipt.reason
    assert len(server.requests("PUT")) == 2  # the question in prepare, and one try


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("limit", ["primary", "secondary", "secondary without a time"])
def test_a_rate_limit_is_waited_for_or_left_to_the_next_pass(
    world: World, server: GitHub, token: CredentialRef, status: int, limit: str
) -> None:
    """A limit that outlasts the invocation makes the delivery pending, with the time; nothing is asked until then."""
    entry = part(server, token)
    prepared = prepare(world, entry)
    server.limits.status = status
    server.limits.retry_after = limit == "secondary"
    if limit == "primary":
        server.limits.requests = len(server.requests())
    else:
        server.limits.points = 0
    before = len(server.requests())
    receipts = deliver(world, entry, prepared * 3, deadline=soon())
    assert {receipt.outcome for receipt in receipts} == {ConsumerOutcome.PENDING}
    assert all("no request may leave before 20" in receipt.reason for receipt in receipts)
    assert len(server.requests()) - before <= 3
    assert server.secret("acme/web", SECRET) == "before"


def test_a_rate_limit_that_fits_is_waited_for(world: World, server: GitHub, token: CredentialRef) -> None:
    entry, delivery = part(server, token), world.delivery()
    prepared = prepare(world, entry)
    server.inject(faults.answer(Response(403, b"{}", {"Retry-After": "1"})), when=is_put)
    begun = datetime.now(UTC)
    (receipt,) = deliver(world, entry, prepared, delivery, soon())
    assert receipt.outcome is ConsumerOutcome.UPDATED
    assert datetime.now(UTC) - begun >= timedelta(seconds=1)


def test_a_limit_that_never_ends_is_unreachable(world: World, server: GitHub, token: CredentialRef) -> None:
    entry = part(server, token)
    prepared = prepare(world, entry)
    server.inject(faults.answer(Response(429, b"{}", {"Retry-After": "0"})), when=is_put, times=None)
    (receipt,) = deliver(world, entry, prepared)
    assert receipt.outcome is ConsumerOutcome.UNREACHABLE
    assert "rate limit" in receipt.reason


NOW = datetime(2026, 3, 7, 2, 0, tzinfo=UTC)
THEN = str(int(NOW.timestamp()) + 40)


@pytest.mark.parametrize(
    ("status", "headers", "text", "seconds"),
    [
        (403, {"retry-after": "9"}, "", 9),
        (429, {"retry-after": "9", "x-ratelimit-remaining": "0", "x-ratelimit-reset": THEN}, "", 9),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": THEN}, "", 40),
        (
            403,
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": THEN, "date": "Sat, 07 Mar 2026 02:00:30 GMT"},
            "",
            10,
        ),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, "", 1),
        (403, {"x-ratelimit-remaining": "0"}, "", 60),
        (403, {"x-ratelimit-remaining": "7"}, "You have exceeded a secondary rate limit.", 60),
        (403, {"x-ratelimit-remaining": "7"}, "Resource not accessible by integration", None),
        (429, {}, "", 60),
        (404, {"retry-after": "9"}, "", None),
        (204, {"x-ratelimit-remaining": "0"}, "", None),
    ],
)
def test_what_is_a_rate_limit(status: int, headers: dict[str, str], text: str, seconds: int | None) -> None:
    """Refused rights are a 403 as well; the time of a reset is by GitHub's clock, not by ours."""
    found = limited_for(httpx.Response(status, headers=headers, text=text), NOW)
    assert found == (None if seconds is None else timedelta(seconds=seconds))


@pytest.fixture
def written(world: World, server: GitHub, token: CredentialRef) -> Receipt:
    entry = part(server, token)
    (receipt,) = deliver(world, entry, prepare(world, entry))
    return receipt


def test_a_secret_that_is_gone_differs(world: World, server: GitHub, token: CredentialRef, written: Receipt) -> None:
    server.inject(faults.answer(Response(404)))
    found = verify(world, part(server, token), written)
    assert found.verdict is ConsumerVerdict.DIFFERS
    assert "is gone since it was written" in found.reason


def test_a_secret_that_somebody_else_wrote_since_differs(
    world: World, server: GitHub, token: CredentialRef, written: Receipt
) -> None:
    """GitHub shows no value, but when it was written: not by us, then what is in it is not ours."""
    server.set_secret("acme/web", SECRET, "something else")
    found = verify(world, part(server, token), written)
    assert found.outcome is ConsumerOutcome.UPDATED
    assert found.verdict is ConsumerVerdict.DIFFERS
    assert "find out what else writes it" in found.reason


@pytest.mark.parametrize("answer", [Response.json({}), Response.json({"updated_at": "yesterday"}), Response(200)])
def test_a_time_that_cannot_be_read_is_unknown(
    world: World, server: GitHub, token: CredentialRef, written: Receipt, answer: Response
) -> None:
    server.inject(faults.answer(answer))
    assert verify(world, part(server, token), written).verdict is ConsumerVerdict.UNKNOWN


def test_no_error_quotes_what_github_said(world: World, server: GitHub, token: CredentialRef) -> None:
    """An answer may repeat what was sent."""
    entry = part(server, token)
    prepared = prepare(world, entry)
    for status in (400, 401, 403, 404, 409, 422, 500):
        server.inject(faults.answer(Response.text("QUOTED", status)), when=is_put, times=None)
        (receipt,) = deliver(world, entry, prepared)
        assert receipt.reason
        assert "QUOTED" not in receipt.reason
        server.clear_faults()


def test_an_entry_that_could_not_be_prepared_is_not_written(world: World, server: GitHub, app: CredentialRef) -> None:
    entry = part(server, app, repositories="acme/*")
    (receipt,) = deliver(world, entry, [Prepared("ci", problem="no such thing")])
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "no such thing" in receipt.reason
    assert server.requests() == []


def test_a_repository_not_ready_before_the_reset_may_be_ready_after(
    world: World, server: GitHub, token: CredentialRef
) -> None:
    """Where the gate lets a rotation pass without it, it is tried all the same."""
    entry, delivery = part(server, token), world.delivery()
    server.inject(faults.gateway_page(), times=None)
    prepared = prepare(world, entry)
    assert prepared[0].problem
    server.clear_faults()
    (receipt,) = deliver(world, entry, prepared, delivery)
    assert receipt.outcome is ConsumerOutcome.UPDATED
    assert server.secret("acme/web", SECRET) == delivery.password.reveal()


def test_a_token_that_is_no_text_is_refused_before_github_is_asked(world: World, server: GitHub) -> None:
    document = {"registries": ["*"], "hosts": ["*"], "token": 7}
    world.secrets_manager.create_secret(Name="rekey/odd", SecretString=json.dumps(document))
    with pytest.raises(CredentialUnusable, match="token"):
        prepare(world, part(server, CredentialRef(secret="rekey/odd")))  # noqa: S106 - its name
    assert server.requests() == []
