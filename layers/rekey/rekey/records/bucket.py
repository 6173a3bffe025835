"""JSON and HTML in the bucket, and the one place that speaks S3."""

import json
from typing import TYPE_CHECKING

from rekey import aws
from rekey.errors import FormatUnknown

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Bucket:
    """Objects of the stack's bucket."""

    def __init__(self, name: str, client: "S3Client | None" = None) -> None:
        self._name = name
        self._client: S3Client = client or aws.client("s3")

    def read(self, key: str, version: str | None = None) -> tuple[bytes, str]:
        """Return an object and its version id. Raises NotFound, Denied, Unreachable."""
        which = {"VersionId": version} if version else {}
        with aws.answering(f"{key} in the bucket"):
            answer = self._client.get_object(Bucket=self._name, Key=key, **which)  # type: ignore[arg-type]
            return answer["Body"].read(), answer.get("VersionId", "")

    def write(self, key: str, body: bytes, content_type: str) -> str:
        """Write an object and return its version id. Raises Denied, NotFound, Unreachable."""
        with aws.answering(f"{key} in the bucket"):
            answer = self._client.put_object(Bucket=self._name, Key=key, Body=body, ContentType=content_type)
        return answer.get("VersionId", "")

    def names(self, prefix: str) -> list[str]:
        """Return the keys that begin so, in order. Raises Denied, NotFound, Unreachable."""
        with aws.answering("the bucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
            return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def read_json(self, key: str) -> dict[str, object]:
        """Return a JSON object of format 1. Raises FormatUnknown, NotFound, Denied, Unreachable."""
        body, _ = self.read(key)
        document = json.loads(body)
        if not isinstance(document, dict) or document.get("format") != 1:
            raise FormatUnknown(f"{key} is of a format this release does not read")
        return document

    def write_json(self, key: str, document: dict[str, object]) -> None:
        """Write a JSON object with sorted keys."""
        body = json.dumps({"format": 1} | document, sort_keys=True, indent=1).encode()
        self.write(key, body, "application/json")
