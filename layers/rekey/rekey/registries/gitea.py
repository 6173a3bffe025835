"""Gitea and Forgejo: the password of a user of the container registry is set to one of ours.

Measured on Gitea 1.26: the old password is dead at once for the registry, its token server and the API; nothing that
the API shows of a user moves with the password, so a lost answer is settled by a login with the candidate; no account
is ever locked. An empty password is answered 200 and changes nothing.
"""

import json
import re
from collections.abc import Sequence
from datetime import timedelta

from rekey.contracts import Answer, Login, TakesPassword
from rekey.errors import NotSent, RekeyError, Unfit
from rekey.model import plan
from rekey.model.password import Password
from rekey.model.verdict import LoginVerdict
from rekey.registries import gitea_basic
from rekey.registries.candidates import DIGIT, LOWER, SPECIAL, UPPER, Rules
from rekey.registries.gitea_api import User, Users
from rekey.registries.gitea_client import Client
from rekey.registries.oci import OciRegistry
from rekey.registries.open_repositories import open_to_anybody
from rekey.secrets import Secrets

_RULES = Rules(
    shortest=8,  # MIN_PASSWORD_LENGTH, as it is left
    longest=72,  # more is too long for bcrypt, where PASSWORD_HASH_ALGO names it
    classes=(UPPER, LOWER, DIGIT, SPECIAL),  # whatever PASSWORD_COMPLEXITY asks for
    all_needed=False,
    said="password that Gitea takes: 8 to 72 ASCII characters without spaces",
)
_REFUSED = frozenset({400, 401, 403, 404, 409, 412, 422})
_LOOK_WITHIN = timedelta(seconds=5)
_SHOWN = 5
"""Names that are said at most."""
_RULE_SAID = (
    (
        re.compile(r"password must be at least (\d{1,4}) characters"),
        r"Gitea's MIN_PASSWORD_LENGTH asks for \1 characters: set the plan's `alphabet.min_length` to that",
    ),
    (
        re.compile(r"password not complex enough"),
        (
            "Gitea's PASSWORD_COMPLEXITY asks for kinds of characters that the plan's `alphabet.characters` lacks: "
            "leave `characters` out, or add upper and lower case letters, digits and `-._~`"
        ),
    ),
    (
        re.compile(r"using Have-I-Been-Pwned service failed: .*", re.DOTALL),
        "Gitea's PASSWORD_CHECK_PWN makes it ask a service that it does not reach: let it, or turn that off",
    ),
    (
        re.compile(r"password has been pwned"),
        (
            "Gitea's PASSWORD_CHECK_PWN found it in a list of leaked ones: give the plan's `alphabet` more characters "
            "or a greater `min_length`"
        ),
    ),
)
"""What Gitea says of a password that it does not take (routers/api/v1/admin/user.go), and what to change."""


class GiteaRegistry(OciRegistry, TakesPassword):
    """`plan.GiteaApi` says with whose rights the password of the plan's user is set."""

    def __init__(self, part: plan.GiteaRegistry, secrets: Secrets) -> None:
        super().__init__(part, secrets)
        self.alphabet = _RULES.alphabet(part.alphabet.alphabet())
        self._users = Users(part.api, part.username, secrets)
        self._client = Client(part.api, secrets)
        self.reset_timeout = part.api.timeout
        self.settle = part.api.settle

    def check(self) -> None:
        """Prove that a new password would let the plan's user in, and that it may be set."""
        _RULES.refuse_unfit(self.alphabet)
        owner = self._users.owner()
        if owner is not None and owner.casefold() == self._part.username.casefold():
            raise Unfit("the credential in `api.login` is the password that rotates: name another site administrator's")
        if gitea_basic.is_off(self._client):  # first: it may be what the credential needs, too
            raise Unfit(gitea_basic.BASIC_OFF)
        user = self._users.user()
        self._users.may_set()  # first: to anybody but an administrator every user looks inactive
        problem = self._unusable(user)
        if problem:
            raise Unfit(f"the user {self._part.username} {problem}")

    def warnings(self, password: Password | None) -> Sequence[str]:
        """Say who gets in without the password, now and after the reset, and what keeps the user itself out."""
        found: list[str] = []
        for look in (self._open_to_anybody, self._tokens, self._must_change):
            try:
                said = look(password)
            except RekeyError as error:
                said = f"not all could be looked at: {error}"
            found += [said] if said and said not in found else []
        return found

    def _open_to_anybody(self, _password: Password | None) -> str:
        with self._session(_LOOK_WITHIN) as session:
            public = open_to_anybody(session, self._part)
        owner = "set the owner's visibility to private"
        said = [f"anybody may pull {_some(public.names)} without a password: {owner}"] if public.names else []
        if public.unseen:
            said.append(f"not every repository was looked at for being open to anybody: {public.unseen}")
        return "; ".join(said)

    def _tokens(self, password: Password | None) -> str:
        tokens = self._users.tokens_that_open_the_registry(password)
        if tokens is None:
            return (
                "personal access tokens outlive the password, and whether there are any could not be seen: give the "
                "credential the scope read:user"
            )
        what = (
            f"these personal access tokens of {self._part.username} open the registry too, and outlive the password: "
            f"{_some(tokens)}. Delete those that nobody needs"
        )
        return what if tokens else ""

    def _must_change(self, password: Password | None) -> str:
        if password is None or not self._users.must_change(password):
            return ""
        return (
            f"{self._part.username} must change its password at the next sign-in (`must_change_password`). The "
            "registry lets it in all the same; the reset lifts that, or whoever follows it would make another password "
            "than Rekey's"
        )

    def healthy(self) -> bool:
        """Whether both the registry and its API answer well, and the user would be let in with its password."""
        try:
            kept_out = self._unusable(self._users.user())  # not whether Basic is off: asking that is a failed login
        except RekeyError:
            return False
        return not kept_out and super().healthy()

    def login(self, password: Password) -> Login:
        """Ask as every registry is asked. What is refused for want of a second factor alone is no wrong password.

        To see that the API is asked as well, which locks no account.
        """
        said = super().login(password)
        if said.verdict is not LoginVerdict.REFUSED:
            return said
        try:
            right = gitea_basic.is_right_but_not_enough(self._client, self._part.username, password)
        except RekeyError:
            return said
        why = f"the password is right, and the user {self._part.username} {gitea_basic.SECOND_FACTOR}"
        return Login(LoginVerdict.INCONCLUSIVE, why) if right else said

    def prepare_reset(self) -> None:
        """Fetch the credential, and what of the user the call has to say once more."""
        self._users.prepare()

    def candidate(self) -> Password:
        """Return a random password with every kind of character that the plan's alphabet has. Raises Unfit."""
        return _RULES.candidate(self.alphabet)

    def set(self, password: Password) -> Answer:
        """Send the one call, once, as the contract says. An empty password, which does nothing, is never sent."""
        if not _RULES.allow(password.reveal()):
            raise NotSent("nothing was sent: Gitea's rules do not allow such a password")
        return self._users.set_password(password)

    def refusal(self, answer: Answer) -> str | None:
        """Return the status and what to change, where it is Gitea that says no: its errors have a shape of their own.

        What a gateway answers in its stead says nothing of what happened behind it.
        """
        document = _document(answer.body)
        message = document.get("message")
        if answer.status not in _REFUSED or not isinstance(message, str) or "url" not in document:
            return None
        hints = [found.expand(hint) for said, hint in _RULE_SAID if (found := said.fullmatch(message))]
        return ": ".join([f"HTTP {answer.status} from {self._users.call}", *hints])

    def took(self, answer: Answer) -> bool:
        """Whether it is 200 and shows the user whose password was set."""
        login = _document(answer.body).get("login")
        return answer.status == 200 and isinstance(login, str) and self._users.is_called(login)  # noqa: PLR2004

    def _unusable(self, user: User) -> str:
        """Return why a new password would let nobody in; empty where it would. Raises as `check` does."""
        return _closed_to(user) or (gitea_basic.SECOND_FACTOR if self._users.asks_for_totp() else "")


def _closed_to(user: User) -> str:
    if user.source_id:
        return (
            "signs in through an authentication source of Gitea's (LDAP, OAuth2 and so on), which keeps its password: "
            "Gitea would answer 200 and change nothing. Name a local user"
        )
    if user.prohibit_login:
        return "is prohibited from signing in: a new password would not work either; allow it, or name another"
    if not user.active:
        return "is not active: a new password would open nothing; activate it, or name another"
    return ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _document(body: bytes) -> dict[str, object]:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
