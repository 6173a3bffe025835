"""The text of a stored secret: JSON with `username` and `password` on top, which the ecosystem reads already.

ECS `repositoryCredentials`, CodeBuild and the Secrets Manager console read those two; Kubernetes and Docker tools read
`.dockerconfigjson`, a whole `config.json` as a text.
"""

import json
from collections.abc import Mapping

from rekey.contracts import Candidate, Stored
from rekey.errors import FormatUnknown, Unfit
from rekey.model.moment import render
from rekey.model.names import Generation, StoreVersion
from rekey.model.origin import Origin
from rekey.model.password import Password, docker_config

_FORMAT = 1


def written(candidate: Candidate) -> str:
    """Return the text for a candidate: the same candidate gives the same text."""
    host = Origin.parse(candidate.endpoint).netloc
    return _json(
        {
            "format": _FORMAT,
            "registry": candidate.registry,
            "endpoint": host,
            "username": candidate.username,
            "password": candidate.password.reveal(),
            "generation": candidate.generation,
            "rotated_at": render(candidate.made_at),
            ".dockerconfigjson": docker_config(host, candidate.username, candidate.password),
        }
    )


def placeholder(registry: str) -> str:
    """Return the text that stands where no password is yet."""
    return _json({"format": _FORMAT, "registry": registry, "placeholder": True})


def is_placeholder(text: str) -> bool:
    """Whether a text is what `placeholder` gave."""
    return (_document(text) or {}).get("placeholder") is True


def generation(text: str) -> Generation:
    """Return the generation that a text says it is; 0 where it says none."""
    number = (_document(text) or {}).get("generation")
    return Generation(number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0)


def read(text: str, version: StoreVersion, registry: str) -> Stored:
    """Return what a text holds. A person's own JSON with `username` and `password` is generation 0.

    Raises Unfit where it holds no password or another registry's, FormatUnknown where a later release wrote it.
    """
    document = _document(text)
    if document is None or not isinstance(document.get("password"), str) or not document["password"]:
        raise Unfit(
            'it holds something else than JSON with "username" and "password", and readers would not know what to '
            "expect: put the password there in that form, or name another secret"
        )
    number = generation(text)
    if document.get("format", _FORMAT) != _FORMAT:
        raise FormatUnknown(f"it is of another format than {_FORMAT}: a later release of Rekey wrote it")
    if number and document.get("registry") != registry:
        raise Unfit("it holds the password of another registry: give each registry a secret of its own")
    return Stored(version, Password(str(document["password"])), number)


def _document(text: str) -> Mapping[str, object] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
