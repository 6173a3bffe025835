"""The evidence says of each token of the old password whether it outlived it, and until when: or why nobody knows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rekey.evidence import Findings, build
from rekey.model.old_token import OldToken, TokenKind
from rekey.model.rotation import AttemptKind, Rotation
from rekey.model.state import Outcome
from rekey.model.verdict import LoginVerdict
from rekey.steps.reset.old_tokens import GIVES_NONE
from tests.unit.reset_states import NOW, SECOND, called, pasted, rotation

ENDS = NOW + timedelta(hours=24)
BEARER = OldToken(kind=TokenKind.BEARER, taken_at=NOW, ends_at=ENDS)
REFRESH = OldToken(kind=TokenKind.REFRESH, taken_at=NOW)


def evidence(of: Rotation, *attempts: Any) -> dict[str, Any]:  # noqa: ANN401 (an attempt, however made)
    found = Findings(of, attempts, (), (), (), before=None)
    document: dict[str, Any] = json.loads(json.dumps(build(found, Outcome.FINISHED, NOW)))
    return document


def with_tokens(*tokens: OldToken, **fields: object) -> Rotation:
    return rotation(**{"called_at": NOW, "old_version": "v1", "old_tokens": tokens, **fields})


def test_what_outlived_it_stands_there_with_its_end() -> None:
    alive = BEARER.tried(LoginVerdict.ACCEPTED, "opens GET /v2/", NOW + SECOND)
    document = evidence(with_tokens(alive))
    assert document["old_tokens"] == {
        "note": "",
        "tokens": [
            {
                "kind": "bearer",
                "verdict": "accepted",
                "taken": "2026-03-07T02:00:00.000Z",
                "ends": "2026-03-08T02:00:00.000Z",
                "tried": "2026-03-07T02:00:01.000Z",
                "note": "opens GET /v2/",
            }
        ],
    }
    (warning,) = document["warnings"]
    assert "until 2026-03-08T02:00:00.000Z" in warning


def test_a_refresh_token_that_outlived_it_is_to_be_revoked() -> None:
    (warning,) = evidence(with_tokens(REFRESH.tried(LoginVerdict.ACCEPTED, "", NOW)))["warnings"]
    assert "nothing says until when" in warning
    assert "Revoke" in warning


@pytest.mark.parametrize("verdict", [LoginVerdict.REFUSED, LoginVerdict.INCONCLUSIVE, LoginVerdict.UNREACHABLE, None])
def test_what_did_not_or_may_not_have_is_no_warning(verdict: LoginVerdict | None) -> None:
    tried = BEARER if verdict is None else BEARER.tried(verdict, "", NOW)
    assert evidence(with_tokens(tried))["warnings"] == []


def test_one_that_was_not_tried_says_so() -> None:
    (token,) = evidence(with_tokens(BEARER))["old_tokens"]["tokens"]
    assert (token["verdict"], token["tried"], token["ends"]) == (None, None, "2026-03-08T02:00:00.000Z")
    assert token["note"].startswith("not tried")


def test_why_there_is_none() -> None:
    def note(of: Rotation, *attempts: object) -> str:
        return str(evidence(of, *attempts)["old_tokens"]["note"])

    assert note(with_tokens(old_tokens_note=GIVES_NONE)) == GIVES_NONE
    assert note(with_tokens(), pasted()) == "not tried: a person reset, and no function could hold one meanwhile"
    assert "no earlier password" in note(with_tokens(old_version=None), called())
    assert "was not accepted before" in note(with_tokens(), called())
    assert {pasted().kind, called().kind} == {AttemptKind.PASTED, AttemptKind.RESET}


def test_of_a_rotation_without_a_reset_nothing_is_said() -> None:
    """What was taken before a call that never left was never at stake."""
    assert evidence(rotation(old_tokens=(BEARER,)))["old_tokens"] == {"note": "", "tokens": []}


def test_what_the_registry_is_warned_of_stands_first() -> None:
    document = evidence(rotation(warnings=("anybody may pull acme/web",)))
    assert document["warnings"] == ["registry: anybody may pull acme/web"]
