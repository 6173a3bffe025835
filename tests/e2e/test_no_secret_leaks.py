"""No secret is in a log, state, event, message, item, object, process or request that has no business with it.

Secrets: the old and the new password, another registry's in the same pull secrets, the control plane's password and
bearer, the credentials of every consumer, and what was pasted. How they are looked for is in `places`; that the search
finds them is tested in `test_search_for_secrets`.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e import rotating
from tests.e2e.canaries import Canary
from tests.e2e.companies import about_secrets_manager
from tests.e2e.front import by
from tests.e2e.places import GITHUB, NEW, PERSON, Run
from tests.sandbox import cloudraya
from tests.sandbox.company_store import InSecretsManager
from tests.sandbox.webhook_receiver import sign
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import NewCompany
    from tests.e2e.front import Front
    from tests.sandbox.aws_faults import Act as AwsAct
    from tests.sandbox.aws_faults import Answer, AwsRequest
    from tests.sandbox.company import Company
    from tests.sandbox.wire import Act, Request


@pytest.fixture
def run(company: Company, front: Front) -> Run:
    return Run.of(company, front)


def test_a_rotation_asked_for_by_an_alert_that_carries_the_live_password(
    company: Company, run: Run, webhook_key: str
) -> None:
    """The whole way, from the webhook to the message that all is done, with a GitHub App for the secrets."""
    company.document["accepts"]["soc"] = ["compromised"]
    company.push_plan()
    run.more += _use_github_app(company)
    run.more.append(Canary("key of the webhook source", webhook_key.removeprefix("whsec_")))
    answer = _alert(company, webhook_key, {"raw": company.first_password, "context": {"match": company.first_password}})
    assert answer.status_code == 202, answer.text
    company.world.cloud.settle()
    (arn,) = rotating.executions(company)
    assert rotating.ended(company, arn).status == "SUCCEEDED"
    assert run.leaks() == set()
    assert rotating.told(company, "Rotation Finished")
    assert len({canary.text for canary in run.canaries() if canary.name == GITHUB}) >= 4, "key, JWT, tokens"


def test_consumers_that_quote_what_they_were_sent(company: Company, run: Run, front: Front) -> None:
    """Their refusals hold the password, the token and, of a pull secret, the other registry's password."""
    world = company.world
    for server in (world.github, world.kubernetes, world.receiver):
        server.inject(_echo(422), when=rotating.is_write(company), times=None)
    front.inject(_echo(400), when=by(company.name, lambda given: given != company.first_password))
    assert rotating.rotate(company).error == "ConsumersFailed"
    assert run.leaks() == set()
    quoted = [_secret_in(request) for request in rotating.written(company) if request.method == "PUT"]
    assert any(company.other_password in text for text in quoted), "or the echo would prove nothing"


@pytest.mark.parametrize(("path", "status"), [("/core/v1/auth/login", 401), (cloudraya.RESET_PATH, 409)])
def test_a_control_plane_that_quotes_what_it_was_sent(company: Company, run: Run, path: str, status: int) -> None:
    """Its answers hold Rekey's own password or bearer."""
    where = path.format(id=company.name)
    company.world.cloudraya.inject(_echo(status), when=lambda request: request.path == where, times=None)
    assert rotating.rotate(company).error in ("NotReady", "AttentionNeeded")
    assert run.leaks() == set()


def test_an_answer_that_cannot_be_read(company: Company, run: Run) -> None:
    """It holds the new password, and is kept as ciphertext alone."""
    company.world.cloudraya.reset_answer = cloudraya.html_with_password
    assert rotating.rotate(company).error == "AttentionNeeded"
    assert len(rotating.kept(company)) == 1
    assert NEW in {canary.name for canary in run.canaries()}
    assert run.leaks() == set()


@about_secrets_manager
def test_an_unexpected_error_whose_text_holds_the_password(company: Company, run: Run) -> None:
    """AWS's library fails on an answer and quotes it, once in every process that reads the new password."""
    struck = _garble_new_password(company)
    assert rotating.rotate(company).status == "SUCCEEDED"
    functions = {process.function for process in company.world.cloud.lambdas.processes if process.caller in struck}
    assert {name.rpartition("-")[2] for name in functions} >= {"reset", "distribute", "verify"}
    assert run.leaks() == set()


def test_a_store_that_quotes_what_it_refuses(company: Company, run: Run) -> None:
    refused = company.store.quote_once()
    rotating.rotate(company)
    assert refused() == 1
    assert run.leaks() == set()


def test_what_is_pasted(new_company: NewCompany, front: Front) -> None:
    """A right paste and a wrong one: both are somebody's password."""
    company = new_company("manual", ready_for="60s")
    run = Run.of(company, front)
    rotating.rotate(company)
    company.world.cloudraya.click_reset(company.name)
    mistyped = secrets.token_urlsafe(18)
    run.more.append(Canary(NEW, mistyped))  # it is tried at the registry, as any new password
    rotating.paste(company, mistyped)
    (reset,) = company.world.cloudraya.resets(company.name)
    rotating.paste(company, reset.password)
    assert company.current() == reset.password
    assert run.leaks() == set()


def _use_github_app(company: Company) -> list[Canary]:
    """Let the plan's GitHub secrets be written by an app, and return what there is to hide of it."""
    world = company.world
    app = world.github.access.create_app()
    fields = {
        "app_id": str(app.id),
        "installation_id": str(world.github.access.install(app, f"org-{company.name}")),
        "private_key": app.private_key,
    }
    bound = {"registries": [company.name], "hosts": [world.github.host]}
    world.cloud.client("secretsmanager").put_secret_value(
        SecretId=f"rekey/{company.name}-github", SecretString=json.dumps({**bound, **fields})
    )
    lines = app.private_key.splitlines()
    return [Canary(GITHUB, line) for line in lines[1:4]]


def _alert(company: Company, webhook_key: str, more: dict[str, object]) -> httpx.Response:
    """Post a signed alert, with more in it than Rekey asks for."""
    document = {"registry": company.name, "reason": "compromised", "leak": "leak-1", **more}
    body, sent_at = json.dumps(document).encode(), str(int(time.time()))
    key = base64.b64decode(webhook_key.removeprefix("whsec_"))
    headers = {
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": sent_at,
        "webhook-signature": sign(key, "msg_1", sent_at, body),
    }
    return httpx.post(f"{company.world.cloud.http_api.endpoint}/soc", content=body, headers=headers, timeout=30.0)


def _echo(status: int) -> Callable[[Request, Act], Response]:
    """Refuse, and quote the whole request, in the body and in a header."""

    def fault(request: Request, _act: Act) -> Response:
        body = request.body.decode("utf-8", "replace")
        said = json.dumps({"headers": dict(request.headers), "body": body})
        quoted = {"X-Quoted": request.headers.get("authorization", "none")}
        return Response.json({"message": said, "errors": [body]}, status, quoted)

    return fault


def _secret_in(request: Request) -> str:
    """Return the JSON in the pull secret that a request to the cluster carries."""
    data = request.json_object().get("data")
    values = data.values() if isinstance(data, dict) else []
    return "".join(base64.b64decode(str(value)).decode() for value in values)


def _garble_new_password(company: Company) -> set[str]:
    """Give the new password where a time belongs, once to each caller; return those who got it."""
    struck: set[str] = set()

    def effect(request: AwsRequest, act: AwsAct) -> Answer:
        answer = act()
        document = json.loads(answer.body)
        if request.caller in struck or "generation" not in document["SecretString"]:
            return answer
        struck.add(request.caller)
        document["CreatedDate"] = document["SecretString"]
        headers = tuple(pair for pair in answer.headers if pair[0].lower() != "content-length")
        return replace(answer, body=json.dumps(document).encode(), headers=headers)

    assert isinstance(company.store, InSecretsManager)
    is_store = company.store.is_about()
    company.world.cloud.faults.add(
        "secretsmanager:GetSecretValue", effect, times=None, where=lambda one: is_store(one) and _is_functions(one)
    )
    return struck


def _is_functions(request: AwsRequest) -> bool:
    return request.caller != PERSON
