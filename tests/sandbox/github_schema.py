"""GitHub's own description of its secrets endpoints, held against every request and answer of the simulator.

The schemas allow unknown fields, so that a misspelt one would go unnoticed: here they are forbidden.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.paths.exceptions import PathNotFound
from openapi_core.testing import MockRequest, MockResponse

if TYPE_CHECKING:
    from tests.sandbox.wire import Json, Request, Response

_FILE = Path(__file__).with_name("data") / "github-secrets.openapi.json"
_HOST = "https://api.github.com"
_JSON = "application/json"


class GitHubSchema:
    """The schemas; paths that they do not know are not checked."""

    def __init__(self) -> None:
        description = json.loads(_FILE.read_text(encoding="utf-8"))
        for operations in description["paths"].values():
            for operation in operations.values():
                for answer in operation["responses"].values():
                    answer["description"] = ""  # cut away, and required
        _forbid_unknown_fields(description)
        self._openapi = OpenAPI.from_dict(description)

    def problem(self, request: Request) -> str | None:
        """Return what is wrong with a request, or None."""
        try:
            self._openapi.validate_request(_described(request))
        except PathNotFound:
            return None
        except OpenAPIError as error:
            return f"{error}: {_reasons(error)}"
        return None

    def check(self, request: Request, response: Response) -> None:
        """Raise `OpenAPIError` where a successful answer is not what GitHub describes: the simulator is wrong then."""
        if response.status >= 400:  # the description was cut to what succeeds
            return
        answer = MockResponse(response.body, response.status, content_type=_JSON)
        try:
            self._openapi.validate_response(_described(request), answer)
        except PathNotFound:
            return


def _described(request: Request) -> MockRequest:
    return MockRequest(_HOST, request.method.lower(), request.path, data=request.body or None, content_type=_JSON)


def _forbid_unknown_fields(node: Json) -> None:
    """Do what openapi-core's own policy does, which makes classes at every request and takes three times as long."""
    if isinstance(node, list):
        for item in node:
            _forbid_unknown_fields(item)
    elif isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for value in node.values():
            _forbid_unknown_fields(value)


def _reasons(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if reasons := getattr(cause, "schema_errors", None):
            return "; ".join(reason.message for reason in reasons)
        cause = cause.__cause__
    return ""
