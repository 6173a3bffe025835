"""boto3 clients with short timeouts, and the one place where botocore's errors become ours."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from rekey.errors import Conflict, CredentialUnusable, Denied, NotFound, Unfit, Unintelligible, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import ReadOnlyCredentials

for _name in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at DEBUG they write whole answers, passwords included

_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
_HURRIED = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})

_MEANS: "Mapping[str, type[Denied | NotFound | Unfit | Unintelligible | Conflict | Unreachable]]" = {
    "AccessDenied": Denied,
    "AccessDeniedException": Denied,
    "AuthorizationError": Denied,
    "UnrecognizedClientException": Denied,
    "KMSAccessDenied": Denied,
    "KMSAccessDeniedException": Denied,
    "KMS.AccessDeniedException": Denied,
    "DecryptionFailure": Denied,
    "EncryptionFailure": Denied,
    "ResourceNotFoundException": NotFound,
    "NotFoundException": NotFound,
    "NoSuchKey": NotFound,
    "NoSuchBucket": NotFound,
    "NotFound": NotFound,
    "ResourceExistsException": Conflict,
    "InvalidRequestException": Unfit,
    "InvalidParameter": Unfit,
    "InvalidParameterException": Unfit,
    "ValidationException": Unfit,
    "DisabledException": Unfit,
    "KMSInvalidStateException": Unfit,
    "InvalidCiphertextException": Unintelligible,
}


@lru_cache(maxsize=16)
def client(service: str, *, hurried: bool = False) -> Any:  # noqa: ANN401 (boto3 makes its clients' types at run time; callers annotate)
    """Return the process's client of a service. Region, credentials and endpoints come from the environment.

    One call takes 40 s at the most, a `hurried` one 8 s: for what stands between the reset's answer and its safe place.
    """
    return boto3.session.Session().client(service, config=_HURRIED if hurried else _CONFIG)  # type: ignore[call-overload]


def own_keys() -> "ReadOnlyCredentials":
    """Return the keys of the role that this runs with, for signing what is not sent to AWS by us.

    Raises CredentialUnusable where there are none.
    """
    found = boto3.session.Session().get_credentials()
    if found is None:
        raise CredentialUnusable("there are no AWS credentials to sign with: this has to run with a role")
    return found.get_frozen_credentials()


def our_role() -> str:
    """Return whose rights AWS looks at, in words: those of a function's role. Its name is Lambda's own variable.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
    """
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    return f"the role of the function {function}" if function else "the role that this runs with"


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn botocore's errors into errors of ours that name `what` and AWS's error code, never AWS's text.

    Raises Denied, NotFound, Unfit, Unintelligible, Conflict by the code; Unreachable for everything else.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise _MEANS.get(code, Unreachable)(f"{what}: {code}") from None
    except (BotoConnectionError, HTTPClientError) as error:
        raise Unreachable(f"{what}: no answer ({type(error).__name__})") from None
    except BotoCoreError as error:
        raise Unfit(f"{what}: {type(error).__name__}") from None
