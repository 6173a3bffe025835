"""CloudRaya's image registry: what the vendor's public API reference and conventions give, over `http`.

The path that resets a registry's password is not public. It follows the vendor's convention for changes of one
attribute, PATCH /v1/COLLECTION/ID/ACTION, and the plan's `api.reset` overrides it.
"""

from rekey.model import plan
from rekey.registries.http import HttpRegistry
from rekey.secrets import Secrets


class CloudRayaRegistry(HttpRegistry):
    """An `http` registry whose API is described already."""

    def __init__(self, part: plan.CloudRayaRegistry, secrets: Secrets) -> None:
        common = {name: getattr(part, name) for name in plan.RegistryPart.model_fields}
        super().__init__(plan.HttpRegistry(type="http", api=described(part.api), **common), secrets)


def described(part: plan.CloudRayaApi) -> plan.HttpApi:
    """Return the API in the terms of `http`."""
    registry = f"/image-registry/v1/registries/{part.registry_id}"
    return plan.HttpApi(
        url=part.url,
        ca=part.ca,
        login=part.login,
        sign_in=plan.SignIn(
            path="/core/v1/auth/login",
            body={"email": "{email}", "password": "{password}"},
            token_at="/data/token",  # noqa: S106 (where the token is)
        ),
        health=registry,
        reset=part.reset
        or plan.ResetCall(method="PATCH", path=f"{registry}/reset-password", password_at="/data/password"),  # noqa: S106
    )
