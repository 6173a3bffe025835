"""How a registry answers who is not logged in (`WWW-Authenticate`).

https://distribution.github.io/distribution/spec/auth/token/
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.request import parse_http_list

import httpx

_FIRST = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?:\s+(.*))?", re.DOTALL)
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"(.*)"|([^"\s]+))', re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One way in that a registry offers."""

    scheme: str
    """In lower case: `basic`, `bearer`."""
    parameters: Mapping[str, str]


def challenges(response: httpx.Response) -> Sequence[Challenge]:
    """Return every challenge of an answer; what is malformed is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in response.headers.get_list("www-authenticate"):
        for part in parse_http_list(header):
            parameter = _PARAMETER.fullmatch(part)
            if parameter is None:
                first = _FIRST.fullmatch(part)
                if first is None:
                    continue
                found.append((first[1].lower(), {}))
                parameter = _PARAMETER.fullmatch(first[2] or "")
            if parameter is not None and found:
                found[-1][1][parameter[1].lower()] = parameter[2] if parameter[3] is None else parameter[3]
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def offered(response: httpx.Response, scheme: str) -> Challenge | None:
    """Return the challenge of one scheme, or None."""
    return next((one for one in challenges(response) if one.scheme == scheme), None)


def speaks_registry(response: httpx.Response) -> bool:
    """Whether an answer is a registry's, and not that of whatever else may live at its address."""
    if response.headers.get("docker-distribution-api-version", "").startswith("registry/2"):
        return True
    try:
        json.loads(response.content)
    except (ValueError, RecursionError):
        return False
    return "json" in response.headers.get("content-type", "")
