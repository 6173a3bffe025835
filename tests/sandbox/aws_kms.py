"""Lets moto's KMS sign a digest as what it is: moto would hash it once more, and nobody else could verify that.

Rules: https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.exceptions import ValidationException
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.hashes import HashAlgorithm

MESSAGE_LIMIT = 4096  # bytes

_hash_algorithm = "_ECDSAPrivateKey__hash_algorithm"
_digest: ContextVar[bool] = ContextVar("_digest", default=False)


@contextmanager
def digest_signing_kms() -> Iterator[None]:
    """Within the context `MessageType: DIGEST` is taken for what it says by the elliptic keys of moto's KMS."""
    chosen: Callable[[ECDSAPrivateKey, str], HashAlgorithm] = getattr(ECDSAPrivateKey, _hash_algorithm)

    def choose(key: ECDSAPrivateKey, signing_algorithm: str) -> HashAlgorithm | Prehashed:
        algorithm = chosen(key, signing_algorithm)
        return Prehashed(algorithm) if _digest.get() else algorithm

    with (
        mock.patch.object(ECDSAPrivateKey, _hash_algorithm, choose),
        mock.patch.object(KmsResponse, "sign", _by_type(KmsResponse.sign)),
        mock.patch.object(KmsResponse, "verify", _by_type(KmsResponse.verify)),
    ):
        yield


def _by_type(method: Callable[[KmsResponse], str]) -> Callable[[KmsResponse], str]:
    def with_type(response: KmsResponse) -> str:
        is_digest = response._get_param("MessageType") == "DIGEST"  # noqa: SLF001
        length, algorithm = len(response._get_param("Message")), response._get_param("SigningAlgorithm")  # noqa: SLF001
        if is_digest and length * 8 != int(algorithm.rpartition("_")[2]):
            raise ValidationException(f"Digest is invalid length for algorithm {algorithm}")
        if length > MESSAGE_LIMIT:
            raise ValidationException("1 validation error detected: Value at 'Message' is longer than 4096")
        token = _digest.set(is_digest)
        try:
            return method(response)
        finally:
            _digest.reset(token)

    return with_type
