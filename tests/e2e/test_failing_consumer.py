"""One failing consumer never stops another, and the outcome says so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import Phase
from tests.e2e import rotating
from tests.sandbox.faults import answer, drop
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from tests.e2e.conftest import NewCompany
    from tests.sandbox.company import Company
    from tests.sandbox.http_server import HttpServer
    from tests.sandbox.wire import Fault, Predicate, Request

REFUSED = answer(Response.json({"message": "refused by the sandbox"}, 403))
NO_SUCH = answer(Response.json({"message": "gone"}, 410))


@pytest.mark.parametrize(
    ("consumer", "fault", "said"),
    [
        ("web-ci", REFUSED, "needs the repository permission"),
        ("prod-cluster/{org}-shop/registry", REFUSED, "allow it by a Role"),
        ("deploy-bot", NO_SUCH, "there is no receiver any more"),
    ],
    ids=["github secret", "pull secret", "webhook"],
)
def test_the_others_are_updated_and_the_outcome_names_the_one(
    company: Company, consumer: str, fault: Fault, said: str
) -> None:
    name = consumer.format(org=f"org-{company.name}")
    _server(company, name).inject(fault, when=_writes_to(company, name), times=None)
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "ConsumersFailed")
    evidence = company.evidence()
    assert evidence["outcome"] == "consumers_failed"
    assert Counter(rotating.outcomes(company).values()) == {"failed": 1, "updated": 5}
    (failed,) = [one for one in evidence["consumers"] if one["outcome"] == "failed"]
    assert failed["name"] == name
    assert said in failed["reason"]
    assert failed["verdict"] == "unknown"
    assert evidence["counts"] == {"consumers": 6, "done": 5}
    assert evidence["credential_gap_s"] == "still open"
    assert evidence["resets"] == company.resets == 1
    assert "consumers failed" in rotating.asked_for_a_person(company)
    assert rotating.open_things(company) == [], "the password is changed: the request is met"


def test_all_consumers_of_a_kind_may_fail(company: Company) -> None:
    """A GitHub that refuses everything holds neither the cluster nor the webhook back."""
    company.world.github.inject(REFUSED, when=rotating.is_write(company), times=None)
    assert rotating.rotate(company).error == "ConsumersFailed"
    assert Counter(rotating.outcomes(company).values()) == {"failed": 3, "updated": 3}


def test_consumers_that_do_not_answer_get_it_once_they_are_back(company: Company) -> None:
    """They are `unreachable`, the rotation unfinished; the tick finishes it without another reset or delivery."""
    names = ["web-ci", f"prod-cluster/org-{company.name}-shop/registry", "deploy-bot"]
    for name in names:
        _server(company, name).inject(drop(), when=_writes_to(company, name), times=None)
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "Unfinished")
    assert [name for name, outcome in rotating.outcomes(company).items() if outcome == "unreachable"] == sorted(names)
    assert company.evidence()["credential_gap_s"] == "still open"
    assert rotating.latest(company).phase.open
    for name in names:
        _server(company, name).clear_faults()
    assert rotating.tick(company).status == "SUCCEEDED"
    assert Counter(rotating.outcomes(company).values()) == {"updated": 6}
    assert company.evidence()["outcome"] == "finished"
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    tried_again = sum(len(_tried(company, name)) for name in names)
    assert len(rotating.written(company)) - tried_again == 3, "the others were told once"
    assert len(rotating.reset_calls(company)) == 1
    assert rotating.open_things(company) == []


def test_a_consumer_that_never_answers_is_given_up_in_the_end(new_company: NewCompany) -> None:
    company = new_company(recover_for="1s")
    company.world.receiver.inject(drop(), when=rotating.is_write(company), times=None)
    assert rotating.rotate(company).error == "ConsumersFailed"
    (failed,) = [one for one in company.evidence()["consumers"] if one["outcome"] == "failed"]
    assert failed["name"] == "deploy-bot"
    assert "given up after" in failed["reason"]
    assert rotating.latest(company).phase is Phase.FINISHED
    rotating.tick_in_vain(company)


def _server(company: Company, consumer: str) -> HttpServer:
    world = company.world
    match consumer.partition("/")[0]:
        case "prod-cluster":
            return world.kubernetes
        case "deploy-bot":
            return world.receiver
    return world.github


def _writes_to(company: Company, consumer: str) -> Predicate:
    """Return what picks the writes to one consumer."""
    is_write, place = rotating.is_write(company), consumer.partition("/")[2]
    if not place:
        place = "/web/" if consumer == "web-ci" else "/hooks/"
    if consumer.startswith("prod-cluster"):
        place = place.replace("/", "/secrets/")

    def fits(request: Request) -> bool:
        return is_write(request) and place in request.path

    return fits


def _tried(company: Company, consumer: str) -> list[Request]:
    fits = _writes_to(company, consumer)
    return [request for request in rotating.written(company) if fits(request)]
