"""What a single value of a plan can look like."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StringConstraints, WithJsonSchema

from rekey.model.origin import Origin
from rekey.model.shape import Shape

_UNITS = {"s": "seconds", "second": "seconds", "m": "minutes", "minute": "minutes", "h": "hours", "hour": "hours"}
_UNITS |= {"d": "days", "day": "days"}
_DURATION = re.compile(r"^([0-9]{1,9}) ?(s|m|h|d|seconds?|minutes?|hours?|days?)$")
_LONGEST = timedelta(days=3650)


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("must be a number and a unit, such as `90s`, `20 minutes`, `24h` or `30 days`")
    unit = found[2] if found[2] in _UNITS else found[2].rstrip("s")
    duration = timedelta(**{_UNITS[unit]: int(found[1])})
    if duration > _LONGEST:
        raise ValueError(f"must be at most {_LONGEST.days} days")
    return duration


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda value: f"{int(value.total_seconds())}s"),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["90s", "24h", "30 days"]}),
]


def _url(value: str) -> str:
    Origin.parse(value)
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]
"""`https://host[:port][/path]`; plain `http://` only to this machine itself, where no network can read it."""


def _address(value: str) -> str:
    Origin.parse(value)
    return value


Address = Annotated[str, AfterValidator(_address)]
"""A URL that is used to the letter: a trailing slash may be another place there."""


def _endpoint(value: str) -> str:
    if Origin.parse(value).path:
        raise ValueError("an endpoint is a host, such as `registry.example.com`: leave the path out")
    return value.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_endpoint)]
Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    Shape(r"^[^\x00-\x08\x0b-\x1f\x7f]*$", "text without control characters"),
]
Username = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    Shape(r"^[^:\x00-\x1f\x7f]*$", "text without colons and control characters"),
]
"""RFC 7617: Basic credentials end the user name at the first colon."""
Pem = Annotated[
    str,
    StringConstraints(max_length=64 * 1024),
    Shape(r"^-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\s*$", "a certificate in PEM form"),
]
JsonPointer = Annotated[str, Shape(r"^(/([^~/]|~[01])*)*$", "a JSON pointer, such as `/data/password`")]
"""RFC 6901: `/data/password` is the field `password` of the field `data`."""
HttpPath = Annotated[
    str,
    StringConstraints(max_length=1024),
    Shape(r"^/[!\"$->@-~]*$", "a path that begins with `/`, in ASCII without spaces, query and fragment"),
]
HttpMethod = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Repository = Annotated[str, Shape(r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", "OWNER/NAME, such as `acme/web`")]
RepositoryPattern = Annotated[str, Shape(r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.*?-]+$", "OWNER/PATTERN, such as `acme/svc-*`")]
NamespacedName = Annotated[
    str,
    Shape(
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        "NAMESPACE/NAME as Kubernetes writes them, such as `shop/registry`",
    ),
]

VaultPath = Annotated[
    str,
    StringConstraints(max_length=255),
    Shape(
        r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$",
        "names with `/` between them and none at the ends: letters, digits and any of `_.-`, no dot first",
    ),
]
"""What Vault takes in a URL as it is: more is possible there, and every tool quotes that in its own way."""


def _not_reserved(value: str) -> str:
    if value.upper().startswith("GITHUB_"):
        raise ValueError("must not begin with GITHUB_: those names are GitHub's own")
    return value


SecretVariable = Annotated[
    str,
    StringConstraints(max_length=255),
    Shape(r"^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and underscores, not beginning with a digit"),
    AfterValidator(_not_reserved),
]
"""https://docs.github.com/en/actions/reference/security/secrets: letters, digits, underscores; never GITHUB_…"""
