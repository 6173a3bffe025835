"""The sandbox's KMS signs so that others can verify, and keeps to encryption contexts."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.sandbox.aws import AwsSandbox
from tests.sandbox.aws_kms import digest_signing_kms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from types_boto3_kms import KMSClient

    from tests.sandbox.aws import Repair

MESSAGE = b"evidence"
DIGEST = hashlib.sha256(MESSAGE).digest()


@contextmanager
def signing_key(repairs: Sequence[Repair] = (digest_signing_kms,)) -> Iterator[tuple[KMSClient, str]]:
    with AwsSandbox(repairs=repairs) as aws:
        client = aws.client("kms")
        made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        yield client, made["KeyMetadata"]["KeyId"]


def signature_holds(client: KMSClient, key: str) -> bool:
    """Sign the digest with KMS, and verify the message without it."""
    signature = client.sign(KeyId=key, Message=DIGEST, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
    public_key = load_der_public_key(client.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    try:
        public_key.verify(signature["Signature"], MESSAGE, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def test_what_kms_signed_as_a_digest_verifies_without_kms() -> None:
    with signing_key() as (client, key):
        assert signature_holds(client, key)


def test_moto_alone_hashes_a_digest_again() -> None:
    """Fails when moto signs digests: then ours can go."""
    with signing_key(repairs=()) as (client, key):
        assert not signature_holds(client, key)


def test_kms_verifies_what_it_signed() -> None:
    with signing_key() as (client, key):
        for message, kind in ((DIGEST, "DIGEST"), (MESSAGE, "RAW")):
            signed = client.sign(KeyId=key, Message=message, MessageType=kind, SigningAlgorithm="ECDSA_SHA_256")  # type: ignore[arg-type]
            found = client.verify(
                KeyId=key,
                Message=MESSAGE,
                MessageType="RAW",
                SigningAlgorithm="ECDSA_SHA_256",
                Signature=signed["Signature"],
            )
            assert found["SignatureValid"]


@pytest.mark.parametrize(("length", "kind"), [(31, "DIGEST"), (4097, "RAW")])
def test_a_message_of_the_wrong_length_is_refused(length: int, kind: str) -> None:
    with signing_key() as (client, key), pytest.raises(ClientError, match="ValidationException"):
        client.sign(KeyId=key, Message=b"x" * length, MessageType=kind, SigningAlgorithm="ECDSA_SHA_256")  # type: ignore[arg-type]


def test_another_encryption_context_opens_nothing() -> None:
    with AwsSandbox() as aws:
        client = aws.client("kms")
        key = client.create_key()["KeyMetadata"]["KeyId"]
        sealed = client.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"registry": "a"})["CiphertextBlob"]
        with pytest.raises(client.exceptions.InvalidCiphertextException):
            client.decrypt(CiphertextBlob=sealed, EncryptionContext={"registry": "b"})
        assert client.decrypt(CiphertextBlob=sealed, EncryptionContext={"registry": "a"})["Plaintext"] == b"x"
