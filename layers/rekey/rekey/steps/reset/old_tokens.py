"""What the old password gave may outlive it: a token is taken with it just before the call, and tried after promote.

The tokens are in this invocation's memory alone, and die with it. What is written down is until when they live and what
the registry said of them. Nothing here delays or stops a reset: what fails is noted.
"""

from datetime import timedelta

from rekey import runtime
from rekey.errors import RekeyError
from rekey.model.old_token import OldToken
from rekey.model.password import Password
from rekey.model.verdict import LoginVerdict
from rekey.observability import logger
from rekey.steps.reset.work import Work

WITHIN = timedelta(seconds=3)
"""For taking them before the call, and for trying them after promote: consumers wait for that."""
GIVES_NONE = "the registry takes the password itself and gives no tokens"


def take(work: Work, password: Password) -> dict[str, object]:
    """Have the registry give what it gives for the old password, which it took just now.

    Returns what the rotation notes of it.
    """
    work.tokens, now = (), runtime.now()
    if now + WITHIN + work.limits.call > work.latest.deadline:
        return {"old_tokens": (), "old_tokens_note": "no time was left to take one before the reset"}
    try:
        work.tokens = work.registry.take_tokens(password, WITHIN)
    except RekeyError as error:
        return {"old_tokens": (), "old_tokens_note": f"none could be taken before the reset: {error}"}
    return {
        "old_tokens": tuple(OldToken(kind=one.kind, taken_at=now, ends_at=one.ends_at) for one in work.tokens),
        "old_tokens_note": "" if work.tokens else GIVES_NONE,
    }


def attempt(work: Work) -> None:
    """Try what was taken, and write down what the registry says of it.

    Where the new password was not accepted a moment ago, the registry cannot be asked, and no time is spent on it.
    """
    held, work.tokens = work.tokens, ()
    if not held or work.latest.login is not LoginVerdict.ACCEPTED:
        return
    said = work.registry.try_tokens(held, work.new_password, min(WITHIN, work.call.left(runtime.now())))
    now, known = runtime.now(), work.rotation.old_tokens
    for one, login in zip(held, said, strict=True):
        logger.info("old token", extra={"kind": one.kind.value, "verdict": login.verdict.value})
    tried = (one.tried(login.verdict, login.detail, now) for one, login in zip(known, said, strict=True))
    work.save_rotation(old_tokens=tuple(tried))
