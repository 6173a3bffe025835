"""What the evidence says of tokens that the old password gave: dead for a login, it may live on in them. Pure."""

from collections.abc import Sequence
from datetime import datetime

from rekey.model.moment import render
from rekey.model.old_token import TokenKind
from rekey.model.rotation import Attempt, AttemptKind, Rotation
from rekey.model.verdict import LoginVerdict

NOT_TRIED = "not tried after the reset: what held it had ended, or the registry could not be asked"


def old_tokens(rotation: Rotation, attempts: Sequence[Attempt]) -> dict[str, object]:
    """Return the part of the evidence: each token's verdict, and until when it lives."""
    if rotation.called_at is None:
        return {"note": "", "tokens": []}
    return {
        "note": rotation.old_tokens_note or ("" if rotation.old_tokens else _why_none(rotation, attempts)),
        "tokens": [
            {
                "kind": one.kind.value,
                "verdict": one.verdict.value if one.verdict else None,
                "taken": render(one.taken_at),
                "ends": _moment(one.ends_at),
                "tried": _moment(one.tried_at),
                "note": one.said or ("" if one.verdict else NOT_TRIED),
            }
            for one in rotation.old_tokens
        ],
    }


def outlived(rotation: Rotation) -> list[str]:
    """Return what whoever had the old password can go on with, and until when."""
    said = []
    for one in rotation.old_tokens:
        if one.verdict is not LoginVerdict.ACCEPTED:
            continue
        until = f"until {render(one.ends_at)}" if one.ends_at else "and nothing says until when"
        if one.kind is TokenKind.REFRESH:
            said.append(
                f"a refresh token that was got with the old password still gets new tokens, {until}: whoever used "
                "`docker login` may have one in the password's place. Revoke the account's at the token server"
            )
        else:
            leeway = " (the registry may allow a minute more)" if one.ends_at else ""
            said.append(f"a token that was got with the old password before the reset still opens it, {until}{leeway}")
    return said


def _why_none(rotation: Rotation, attempts: Sequence[Attempt]) -> str:
    """Return why none was taken, where `reset` had no occasion to note it."""
    if any(attempt.kind is AttemptKind.PASTED for attempt in attempts):
        return "not tried: a person reset, and no function could hold one meanwhile"
    if rotation.old_version is None:
        return "not tried: the store held no earlier password to take one with"
    return "not tried: the old password was not accepted before the reset"


def _moment(at: datetime | None) -> str | None:
    return render(at) if at else None
