"""Any registry whose reset is one HTTP call that shows the new password once. The plan describes the call."""

import gzip
import json
import zlib
from io import BytesIO

from rekey.contracts import Answer, GeneratesPassword
from rekey.errors import RekeyError, Unintelligible
from rekey.model import plan
from rekey.model.password import ESCROW_LIMIT, Alphabet, Password
from rekey.registries.control_plane import ControlPlane
from rekey.registries.oci import OciRegistry
from rekey.registries.pointer import resolve
from rekey.secrets import Secrets

_GZIP = b"\x1f\x8b"
_LONGEST = 4096


class HttpRegistry(OciRegistry, GeneratesPassword):
    """`plan.HttpApi` says how to sign in, whether the API is well, how to reset and where the password is."""

    def __init__(self, part: plan.HttpRegistry, secrets: Secrets) -> None:
        super().__init__(part, secrets)
        self._call = part.api.reset
        self._control = ControlPlane(part.api, secrets)
        self.reset_timeout = self._call.timeout
        self.settle = self._call.settle

    def check(self) -> None:
        """Prove that the API is well and takes Rekey's own credential; the registry itself is asked by `login`."""
        self._control.check()

    def healthy(self) -> bool:
        """Whether both the registry and its API answer well.

        A registry whose user database is down may still answer /v2/; its API, which has to look somebody up, does not.
        """
        try:
            self._control.check()
        except RekeyError:
            return False
        return super().healthy()

    def prepare_reset(self) -> None:
        """Sign in, unless the token at hand is good for the whole call and a minute more."""
        self._control.prepare()

    def reset(self) -> Answer:
        """Send the one call, once, as the contract says. A redirect is an answer like any other."""
        return self._control.reset()

    def refusal(self, answer: Answer) -> str | None:
        """Return the status, where the plan says that this API then reset nothing."""
        if answer.status not in self._call.refused_status:
            return None
        return f"HTTP {answer.status} from {self._call.method} {self._call.path}"

    def password_in(self, answer: Answer) -> Password:
        """Return the password that the plan's `password_at` points to."""
        where = self._call.password_at
        found = self._found_in(answer)
        if not isinstance(found, str):
            raise _unreadable(answer, where, f"there is {_kind(found)} there, and not a text")
        fault = _fault(found, self.alphabet)
        if fault:
            raise _unreadable(answer, where, f"the text there {fault}")
        return Password(found)

    def _found_in(self, answer: Answer) -> object:
        where, body = self._call.password_at, _plain(answer.body)
        if not body.strip():
            raise _unreadable(answer, where, "it is empty")
        document, is_json = _parsed(body)
        if not is_json:
            raise _unreadable(answer, where, _not_json(body))
        try:
            return resolve(document, where)
        except LookupError:
            raise _unreadable(answer, where, "its JSON has no such field") from None


def _unreadable(answer: Answer, where: str, why: str) -> Unintelligible:
    return Unintelligible(f"the answer to the reset (HTTP {answer.status}) has no password at {where}: {why}")


def _plain(body: bytes) -> bytes:
    """Return the body as it was before a gateway compressed it, though it was asked not to."""
    if not body.startswith(_GZIP):
        return body
    try:
        with gzip.GzipFile(fileobj=BytesIO(body)) as unpacked:
            return unpacked.read(ESCROW_LIMIT + 1)
    except (OSError, EOFError, zlib.error):
        return body


def _parsed(body: bytes) -> tuple[object, bool]:
    """Return the document, and whether there is one. No error leaves here: it would quote the body."""
    try:
        return json.loads(body), True
    except (ValueError, RecursionError):
        return None, False


def _not_json(body: bytes) -> str:
    if len(body) >= ESCROW_LIMIT:
        return f"it is longer than the {ESCROW_LIMIT // 1024} kB that are kept"
    return "it is HTML or XML" if body.lstrip().startswith(b"<") else "it is no JSON"


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", bool: "a truth value", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def _fault(text: str, alphabet: Alphabet) -> str:
    """Return why a text cannot be the password, or nothing. Its characters are the registry's own affair."""
    if not text:
        return "is empty"
    if len(text) > _LONGEST or not text.isprintable():
        return "is too long or has control characters"
    if not alphabet.min_length <= len(text) <= alphabet.max_length:
        return "is not as long as the plan's `alphabet` says passwords are"
    return ""
