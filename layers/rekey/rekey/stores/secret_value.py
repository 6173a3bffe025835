"""The value of a stored secret: JSON with `username` and `password` on top, which the ecosystem reads already.

ECS `repositoryCredentials`, CodeBuild and the Secrets Manager console read those two; Kubernetes and Docker tools read
`.dockerconfigjson`, a whole `config.json` as a text.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias

from rekey.contracts import Candidate, Stored
from rekey.errors import FormatUnknown, Unfit
from rekey.model.moment import render
from rekey.model.names import Generation, StoreVersion
from rekey.model.origin import Origin
from rekey.model.password import Password, docker_config

_FORMAT = 1
Document: TypeAlias = Mapping[str, object]


def of(candidate: Candidate) -> Document:
    """Return the fields for a candidate: the same candidate gives the same fields."""
    host = Origin.parse(candidate.endpoint).netloc
    return {
        "format": _FORMAT,
        "registry": candidate.registry,
        "endpoint": host,
        "username": candidate.username,
        "password": candidate.password.reveal(),
        "generation": candidate.generation,
        "rotated_at": render(candidate.made_at),
        ".dockerconfigjson": docker_config(host, candidate.username, candidate.password),
    }


def placeholder(registry: str) -> Document:
    """Return the fields that stand where no password is yet."""
    return {"format": _FORMAT, "registry": registry, "placeholder": True}


def is_placeholder(document: Document | None) -> bool:
    """Whether these are the fields that `placeholder` gave."""
    return document is not None and document.get("placeholder") is True


def generation(document: Document | None) -> Generation:
    """Return the generation that the fields say it is; 0 where they say none."""
    number = (document or {}).get("generation")
    return Generation(number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0)


def read(document: Document | None, version: StoreVersion, registry: str) -> Stored:
    """Return what the fields hold. A person's own JSON with `username` and `password` is generation 0.

    Raises Unfit where it holds no password or another registry's, FormatUnknown where a later release wrote it.
    """
    if document is None or not isinstance(document.get("password"), str) or not document["password"]:
        raise Unfit(
            'it holds something else than JSON with "username" and "password", and readers would not know what to '
            "expect: put the password there in that form, or name another secret"
        )
    number = generation(document)
    if document.get("format", _FORMAT) != _FORMAT:
        raise FormatUnknown(f"it is of another format than {_FORMAT}: a later release of Rekey wrote it")
    if number and document.get("registry") != registry:
        raise Unfit("it holds the password of another registry: give each registry a secret of its own")
    return Stored(version, Password(str(document["password"])), number)


def parsed(text: str) -> Document | None:
    """Return the JSON object that a text is, or None."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def text(document: Document) -> str:
    """Return the fields as JSON: the same fields give the same text."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
