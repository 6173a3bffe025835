"""A credential, and the password in a login, goes to the hosts it is bound to: wherever an answer points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import rotating
from tests.sandbox.faults import answer
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from tests.e2e.front import Front
    from tests.sandbox.company import Company
    from tests.sandbox.http_server import HttpServer
    from tests.sandbox.wire import Fault


def _redirect(to: HttpServer, status: int = 307) -> Fault:
    """Answer with a redirect that keeps method and body, to another host."""
    return answer(Response(status, b"", {"Location": f"{to.url}/elsewhere"}))


def test_a_registry_that_redirects(company: Company, front: Front, elsewhere: HttpServer) -> None:
    front.inject(_redirect(elsewhere), times=None)
    assert rotating.request(company).error == "NotReady"
    assert "answered 307, not as a registry does" in rotating.problems(company)
    assert elsewhere.exchanges == []


def test_a_registry_that_redirects_who_shows_a_password(company: Company, front: Front, elsewhere: HttpServer) -> None:
    front.inject(_redirect(elsewhere), when=lambda one: "authorization" in one.headers, times=None)
    assert rotating.request(company).error == "NotReady"
    assert elsewhere.exchanges == []


def test_a_token_realm_on_another_host(company: Company, front: Front, elsewhere: HttpServer) -> None:
    challenge = f'Bearer realm="{elsewhere.url}/token",service="{front.host}"'
    front.inject(answer(Response.json({"errors": []}, 401, {"WWW-Authenticate": challenge})), times=None)
    assert rotating.request(company).error == "NotReady"
    assert "could not be asked about the old password" in rotating.problems(company)
    assert elsewhere.exchanges == []


@pytest.mark.parametrize("path", ["/core/v1/auth/login", "/image-registry/v1/registries/{name}"])
def test_a_control_plane_that_redirects_before_the_reset(company: Company, elsewhere: HttpServer, path: str) -> None:
    where = path.format(name=company.name)
    company.world.cloudraya.inject(_redirect(elsewhere), when=lambda one: one.path == where, times=None)
    assert rotating.rotate(company).error == "NotReady"
    assert "a redirect, which is not followed" in rotating.problems(company)
    assert elsewhere.exchanges == []
    assert rotating.reset_calls(company) == []


def test_a_control_plane_that_redirects_the_reset(company: Company, elsewhere: HttpServer) -> None:
    """It is an answer like any other: kept, not followed, and thrown away once the old password is seen to be good."""
    company.world.cloudraya.inject(_redirect(elsewhere), when=rotating.is_reset(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert elsewhere.exchanges == []
    assert len(rotating.reset_calls(company)) == 2
    assert (company.resets, rotating.kept(company)) == (1, [])


def test_a_github_whose_next_page_is_on_another_host(company: Company, elsewhere: HttpServer) -> None:
    link = {"Link": f'<{elsewhere.url}/orgs/org-{company.name}/repos?page=2>; rel="next"'}
    company.world.github.inject(answer(Response.json([], 200, link)), when=lambda one: one.path.endswith("/repos"))
    assert rotating.request(company).error == "NotReady"
    assert "nothing was sent" in rotating.problems(company)
    assert elsewhere.exchanges == []


def test_consumers_that_redirect_a_write(company: Company, elsewhere: HttpServer) -> None:
    world = company.world
    for server in (world.github, world.kubernetes, world.receiver):
        server.inject(_redirect(elsewhere), when=rotating.is_write(company), times=None)
    assert rotating.rotate(company).error == "ConsumersFailed"
    assert set(rotating.outcomes(company).values()) == {"failed"}
    assert elsewhere.exchanges == []


def test_a_credential_that_is_bound_to_another_host(company: Company, elsewhere: HttpServer) -> None:
    """A plan that aims a credential at a host it is not for gets an error, and the host nothing."""
    company.document["consumers"][0]["api"] = elsewhere.url
    company.push_plan()
    assert rotating.request(company).error == "NotReady"
    assert f"is not for {elsewhere.host}" in rotating.problems(company)
    assert elsewhere.exchanges == []


def test_a_credential_that_is_bound_to_another_registry(company: Company) -> None:
    world = company.world
    world.put_credential(f"rekey/{company.name}-others", "others", world.github.host, token=company.github_token)
    company.document["consumers"][0]["auth"] = {"secret": f"rekey/{company.name}-others"}
    company.push_plan()
    assert rotating.request(company).error == "NotReady"
    assert f"is not for {company.name}" in rotating.problems(company)
