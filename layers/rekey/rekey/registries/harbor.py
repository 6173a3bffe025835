"""Harbor: the secret of a robot account, of a project or of the system, is set to one of ours.

Recorded on Harbor 2.16: the old secret is dead at once for Basic, a disabled robot can be changed and stays disabled,
and any call whose secret is empty, missing or misspelt rotates to one that Harbor makes up.
"""

import json

from rekey import runtime
from rekey.contracts import Answer, TakesPassword
from rekey.errors import NotSent, RekeyError, Unfit
from rekey.model import plan
from rekey.model.password import Password
from rekey.registries.candidates import DIGIT, LOWER, UPPER, Rules
from rekey.registries.harbor_api import Robot, Robots
from rekey.registries.oci import OciRegistry
from rekey.secrets import Secrets

_RULES = Rules(
    shortest=8,
    longest=128,
    classes=(UPPER, LOWER, DIGIT),
    all_needed=True,
    said="secret that Harbor takes: 8 to 128 ASCII characters, with an upper case letter, a lower case letter and a "
    "digit",
)
"""src/server/v2.0/handler/robot.go, and as recorded."""
_REFUSED = frozenset({400, 401, 403, 404, 409, 412, 422})


class HarborRegistry(OciRegistry, TakesPassword):
    """`plan.HarborApi` says which robot, and with whose rights its secret is set."""

    def __init__(self, part: plan.HarborRegistry, secrets: Secrets) -> None:
        super().__init__(part, secrets)
        self.alphabet = _RULES.alphabet(part.alphabet.alphabet())
        self._robots = Robots(part.api, secrets)
        self._robot_id = part.api.robot_id
        self.reset_timeout = part.api.timeout
        self.settle = part.api.settle

    def check(self) -> None:
        """Prove that the robot is the plan's and works, and that it may be changed, as far as that can be seen.

        A call that changes nothing cannot be made up: whatever secret it holds, a later Harbor might take it.
        """
        _RULES.refuse_unfit(self.alphabet)
        if self._robots.user() == self._part.username:
            raise Unfit("a robot account cannot set its own secret: name another user's credential in `api.login`")
        robot = self._robots.robot()
        self._refuse_another(robot)
        problem = _unusable(robot)
        if problem:
            raise Unfit(f"the robot account {self._robot_id} {problem}")
        if self._robots.read_only():
            raise Unfit("Harbor is in read-only mode: nothing can be changed until an administrator ends it")
        if self._robots.may_not_update(robot):
            raise Unfit("the credential may read robot accounts and not update them: give it that right")

    def healthy(self) -> bool:
        """Whether both the registry and its API answer well, and the robot would be let in with its secret.

        A Harbor whose database is down answers 401 to the right secret; so it does where the robot is disabled.
        """
        try:
            robot = self._robots.robot()
        except RekeyError:
            return False
        return not _unusable(robot) and super().healthy()

    def prepare_reset(self) -> None:
        """Fetch the credential: each request shows it, so there is nothing to sign in to."""
        self._robots.prepare()

    def change_mark(self) -> str | None:
        """Return `update_time`: it moves with the secret, and with every other change of the robot."""
        return self._robots.robot().update_time

    def candidate(self) -> Password:
        """Return a random secret with a character of each class. Raises Unfit where the plan's alphabet allows none."""
        return _RULES.candidate(self.alphabet)

    def set(self, password: Password) -> Answer:
        """Send the one call, once, as the contract says. What Harbor's rules do not allow is never sent."""
        if not _RULES.allow(password.reveal()):
            raise NotSent("nothing was sent: Harbor's rules do not allow such a secret")
        return self._robots.patch(password)

    def refusal(self, answer: Answer) -> str | None:
        """Return the status, where it is Harbor that says no: its errors have a shape of their own.

        What a gateway answers in its stead says nothing of what happened behind it.
        """
        codes = _error_codes(answer.body) if answer.status in _REFUSED else []
        if not codes:
            return None
        hint = ": Harbor is in read-only mode" if "DENIED" in codes else ""
        return f"HTTP {answer.status} from {self._robots.call}{hint}"

    def took(self, answer: Answer) -> bool:
        """Whether it is 200 and an empty object: a secret in it is one that Harbor made up, and not ours."""
        return answer.status == 200 and _document(answer.body) == {}  # noqa: PLR2004

    def _refuse_another(self, robot: Robot) -> None:
        if robot.name != self._part.username:
            raise Unfit(
                f"the robot account {self._robot_id} has another name than the plan's `username` "
                f"({self._part.username}): which of the two is meant?"
            )


def _unusable(robot: Robot) -> str:
    """Return why Harbor answers 401 to this robot's right secret; empty where it does not."""
    if robot.disabled:
        return "is disabled: a new secret would not work either; enable it, or name another"
    if robot.expired(runtime.now().timestamp()):
        return "is expired: a new secret would not work either; make it live longer, or name another"
    return ""


def _document(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found


def _error_codes(body: bytes) -> list[str]:
    """Return the codes of Harbor's errors: `{"errors": [{"code": …, "message": …}]}`."""
    document = _document(body)
    errors = document.get("errors") if isinstance(document, dict) else None
    found = errors if isinstance(errors, list) else []
    return [error["code"] for error in found if isinstance(error, dict) and isinstance(error.get("code"), str)]
