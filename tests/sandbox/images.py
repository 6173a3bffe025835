"""Real images in a real registry: pushed over its API, and read back over it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import secrets
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

import httpx

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from types import TracebackType

    from tests.sandbox.wire import JsonObject

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_TIMEOUT = 10.0  # seconds

Contents: TypeAlias = "dict[str, dict[str, str]]"
"""Repository → tag → digest."""


@dataclass(frozen=True)
class _Stored:
    media_type: str
    digest: str
    size: int

    def descriptor(self) -> JsonObject:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class _Login(httpx.Auth):
    """Shows the password, and where a registry wants a token, gets one for what it asks for.

    https://distribution.github.io/distribution/spec/auth/token/
    """

    def __init__(self, username: str, password: str) -> None:
        self._basic = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._basic
        challenge = (yield request).headers.get("www-authenticate", "")
        if challenge.startswith("Bearer "):
            asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
            realm = httpx.URL(asked.pop("realm")).copy_merge_params(asked)
            answer = yield httpx.Request("GET", realm, headers={"Authorization": self._basic})
            if answer.is_success:
                given = answer.json()
                request.headers["Authorization"] = f"Bearer {given.get('token') or given['access_token']}"
                yield request


class Images:
    """One user's view of a registry's images; a context manager. Errors are `httpx.HTTPStatusError`."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, auth=_Login(username, password), timeout=_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def push(self, repository: str, tags: Iterable[str], architecture: str = "amd64") -> str:
        """Push a fresh image of one small layer under these tags; returns its digest."""
        return self._put(repository, tags, self._image(repository, architecture), MANIFEST).digest

    def push_index(
        self, repository: str, tags: Iterable[str], architectures: Iterable[str] = ("amd64", "arm64")
    ) -> str:
        """Push an image for several architectures, as one index; returns the index's digest."""
        images: list[JsonObject] = []
        for architecture in architectures:
            image = self._put(repository, (), self._image(repository, architecture), MANIFEST)
            images.append(image.descriptor() | {"platform": {"os": "linux", "architecture": architecture}})
        index: JsonObject = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*images]}
        return self._put(repository, tags, index, INDEX).digest

    def repositories(self) -> list[str]:
        """Return all repositories, page after page."""
        return [name for page in self._pages("/v2/_catalog?n=50") for name in page["repositories"] or []]

    def tags(self, repository: str) -> list[str]:
        """Return a repository's tags."""
        return [tag for page in self._pages(f"/v2/{repository}/tags/list") for tag in page["tags"] or []]

    def digest(self, repository: str, tag: str) -> str:
        """Return what a tag points to."""
        answer = self._client.head(
            f"/v2/{repository}/manifests/{tag}", headers={"Accept": f"{MANIFEST}, {INDEX}"}
        ).raise_for_status()
        return answer.headers["docker-content-digest"]

    def contents(self, namespace: str = "") -> Contents:
        """Return everything whose name begins so: what must be the same before and after a reset."""
        return {
            repository: {tag: self.digest(repository, tag) for tag in sorted(self.tags(repository))}
            for repository in sorted(self.repositories())
            if repository.startswith(namespace)
        }

    def _image(self, repository: str, architecture: str) -> JsonObject:
        content = _tar("greeting", f"{repository} {architecture} {secrets.token_hex(8)}\n".encode())
        layer = self._blob(repository, gzip.compress(content, mtime=0), _LAYER)
        config: JsonObject = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/greeting"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(content)]},
        }
        stored_config = self._blob(repository, json.dumps(config).encode(), _CONFIG)
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": stored_config.descriptor(),
            "layers": [layer.descriptor()],
        }

    def _blob(self, repository: str, content: bytes, media_type: str) -> _Stored:
        upload = self._client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
        stored = _Stored(media_type, _digest(content), len(content))
        location = httpx.URL(upload.headers["location"]).copy_add_param("digest", stored.digest)
        self._client.put(
            location, content=content, headers={"Content-Type": "application/octet-stream"}
        ).raise_for_status()
        return stored

    def _put(self, repository: str, tags: Iterable[str], manifest: JsonObject, media_type: str) -> _Stored:
        """Put a manifest under its tags, or under its digest alone where there is none."""
        content = json.dumps(manifest).encode()
        stored = _Stored(media_type, _digest(content), len(content))
        for reference in list(tags) or [stored.digest]:
            self._client.put(
                f"/v2/{repository}/manifests/{reference}", content=content, headers={"Content-Type": media_type}
            ).raise_for_status()
        return stored

    def _pages(self, path: str) -> Iterator[Mapping[str, list[str] | None]]:
        url: str | None = path
        while url:
            answer = self._client.get(url).raise_for_status()
            yield answer.json()
            url = answer.links.get("next", {}).get("url")


def namespace_of(username: str, number: int = 4711) -> str:
    """Return the namespace of a user's samples: what no repository's name can have in it becomes a hyphen."""
    return f"ir-cr-{re.sub('[^a-z0-9._-]', '-', username)}-{number}"


def push_samples(url: str, username: str, password: str, number: int = 4711, *, namespace: str = "") -> Contents:
    """Push what a small company may have, and return it; without a namespace below CloudRaya's `ir-cr-NAME-NUMBER/`."""
    namespace = namespace or namespace_of(username, number)
    with Images(url, username, password) as images:
        images.push(f"{namespace}/web", ["1.0"])
        images.push(f"{namespace}/web", ["1.1", "latest"])
        images.push(f"{namespace}/worker", ["2024.11"])
        images.push_index(f"{namespace}/api", ["3.2", "latest"])
        return images.contents(f"{namespace}/")


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
