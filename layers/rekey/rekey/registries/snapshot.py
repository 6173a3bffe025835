"""Reads what a registry holds: repositories, tags, digests.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import hashlib
import re
from collections.abc import Iterator

import httpx

from rekey import http
from rekey.contracts import Contents
from rekey.errors import Denied, NotFound, Unfit, Unintelligible
from rekey.model.password import Password
from rekey.registries.challenge import Challenge, offered
from rekey.registries.session import Session

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.v1+prettyjws"
)
"""All kinds: a registry asked for one kind alone may answer with another image's digest, or with none."""
_MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a manifest at most: what every registry must take, and hardly one takes more."""
_PAGE = 1000
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REFUSED = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})


class Snapshot:
    """One reading with one password. Raises what `Session` raises, and what each method says."""

    def __init__(self, session: Session, username: str, password: Password) -> None:
        self._session = session
        self._username = username
        self._password = password
        self._basic: str | None = None
        self._bearer: Challenge | None = None
        self._tokens: dict[str, str] = {}

    def take(self, repositories: tuple[str, ...] | None) -> Contents:
        """Return these repositories, or all that the registry lists.

        Raises Denied where the password is refused or a pull is, NotFound for a repository named that is not there,
        Unfit where the registry lists no repositories, Unintelligible.
        """
        self._log_in()
        listed = sorted(set(self._catalog())) if repositories is None else sorted(repositories)
        for name in listed:
            if not _REPOSITORY.fullmatch(name):
                raise Unintelligible(f"{self._session.service}: a repository has no name that could be one")
        return Contents({name: self._tags(name, must_exist=repositories is not None) for name in listed})

    def _log_in(self) -> None:
        hello = self._session.ask("/v2/")
        if hello.status_code != httpx.codes.UNAUTHORIZED:
            http.expect(hello, self._session.service, "GET /v2/")
            return
        self._take_up(hello)
        if self._basic is not None:
            again = self._session.ask("/v2/", authorization=self._basic)
            if again.status_code == httpx.codes.UNAUTHORIZED:
                raise Denied(f"{self._session.service} refuses the password")
            http.expect(again, self._session.service, "GET /v2/ with the password")

    def _take_up(self, response: httpx.Response) -> None:
        """Remember what a 401 asks for."""
        if offered(response, "basic") is not None:
            self._basic = http.basic(self._username, self._password)
        else:
            self._bearer = offered(response, "bearer")
            if self._bearer is None:
                raise Unfit(f"{self._session.service} asks neither for Basic nor for a token: nothing was sent")

    def _ask(self, path: str, scope: str, *, method: str = "GET", accept: str = "application/json") -> httpx.Response:
        """Send a request with what the registry wants to see for this scope; a first 401 says what that is."""
        known = self._basic is not None or self._bearer is not None
        response = self._session.ask(path, method=method, authorization=self._authorization(scope), accept=accept)
        if known or response.status_code != httpx.codes.UNAUTHORIZED:
            return response
        self._take_up(response)
        return self._session.ask(path, method=method, authorization=self._authorization(scope), accept=accept)

    def _authorization(self, scope: str) -> str | None:
        if self._basic is not None or self._bearer is None:
            return self._basic
        if scope not in self._tokens:
            answer = self._session.token(self._bearer, scope, self._password)
            if answer.status in _REFUSED:
                raise Denied(f"the token server of {self._session.service} refuses the password")
            if answer.authorization is None:
                raise Unintelligible(
                    f"the token server of {self._session.service} answered {answer.status} and gave no token"
                )
            self._tokens[scope] = answer.authorization
        return self._tokens[scope]

    def _catalog(self) -> Iterator[str]:
        path: str | None = f"/v2/_catalog?n={_PAGE}"
        while path:
            response = self._ask(path, "registry:catalog:*")
            if response.status_code in {*_REFUSED, httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED}:
                raise Unfit(
                    f"{self._session.service} does not list its repositories to this user: "
                    "name them in the plan (`registry.repositories`)"
                )
            http.expect(response, self._session.service, "the list of repositories")
            yield from _names(response, "repositories", self._session.service)
            path = self._session.next_page(response)

    def _tags(self, repository: str, *, must_exist: bool) -> dict[str, str]:
        scope, found = f"repository:{repository}:pull", dict[str, str]()
        path: str | None = f"/v2/{repository}/tags/list?n={_PAGE}"
        while path:
            response = self._ask(path, scope)
            if response.status_code == httpx.codes.NOT_FOUND and not must_exist:
                return found  # listed still, though its last image is gone
            self._must_succeed(response, repository, "its tags")
            for tag in _names(response, "tags", self._session.service):
                if not _TAG.fullmatch(tag):
                    raise Unintelligible(f"{self._session.service}: {repository} has a tag that cannot be one")
                digest = self._digest(repository, tag, scope)
                if digest is not None:
                    found[tag] = digest
            path = self._session.next_page(response)
        return found

    def _digest(self, repository: str, tag: str, scope: str) -> str | None:
        """Return what a tag points to; None where it points to nothing (any more)."""
        path = f"/v2/{repository}/manifests/{tag}"
        response = self._ask(path, scope, method="HEAD", accept=_MANIFESTS)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        self._must_succeed(response, repository, "a manifest")
        digest = response.headers.get("docker-content-digest")
        if digest is None:
            return self._hashed(repository, path, scope)
        if not _DIGEST.fullmatch(digest):
            raise Unintelligible(f"{self._session.service} answered with a digest of {repository} that is none")
        return str(digest)

    def _hashed(self, repository: str, path: str, scope: str) -> str:
        response = self._ask(path, scope, accept=_MANIFESTS)
        self._must_succeed(response, repository, "a manifest")
        if len(response.content) > _MANIFEST_LIMIT:
            raise Unintelligible(
                f"{self._session.service}: a manifest of {repository} is larger than a manifest can be"
            )
        return f"sha256:{hashlib.sha256(response.content).hexdigest()}"

    def _must_succeed(self, response: httpx.Response, repository: str, what: str) -> None:
        if response.status_code in _REFUSED:
            raise Denied(f"{self._session.service} takes the password and refuses {what} of {repository}")
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(f"{self._session.service} has no repository {repository}: see the plan's `repositories`")
        http.expect(response, self._session.service, f"{what} of {repository}")


def _names(response: httpx.Response, field: str, service: str) -> list[str]:
    """Return the names in a page. Null is what some registries say for none."""
    names = http.json_object(response, service, f"the list of {field}").get(field)
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Unintelligible(f"{service} answered with a list of {field} that is none")
    return names
