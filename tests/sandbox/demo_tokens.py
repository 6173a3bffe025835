"""The demo's own token of the old password: got before the rotation, shown after it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from tests.sandbox.company import Company


def take(company: Company) -> str | None:
    """Return what the registry gives for the password of now; None where it gives no tokens."""
    asked = httpx.get(f"{company.registry.url}/v2/").headers.get("www-authenticate", "")
    bearer = re.search(r'Bearer realm="([^"]+)"', asked)
    if bearer is None:
        return None
    scope = f"repository:{_repository(company)}:pull"
    answer = httpx.get(bearer[1], params={"scope": scope}, auth=(company.username, company.current()))
    return str(answer.raise_for_status().json()["token"])


def shown(company: Company, token: str) -> str:
    """Return what the registry says of it, in a repository that is closed without one."""
    url = f"{company.registry.url}/v2/{_repository(company)}/tags/list"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
    return {200: "accepted", 401: "refused"}.get(answer.status_code, f"answered {answer.status_code}")


def _repository(company: Company) -> str:
    return str(company.document["registry"]["repositories"][0])
