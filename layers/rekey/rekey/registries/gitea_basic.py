"""What keeps a right password out of Gitea: Basic authentication that is off, and a second factor.

`docker login` has nothing but the password. What Gitea answers was measured on 1.26, and read in its source
(services/auth/basic.go, routers/api/v1/api.go): where a one-time password is asked for, it answers the right password
as it answers a wrong one.
"""

import re
import secrets

from rekey import http
from rekey.model.password import Password
from rekey.registries.gitea_client import BASE, NOT_TOLD, Client, message

_WHO = f"{BASE}/user"
_NOT_LOOKED_AT = frozenset({"token is required", "Only signed in user is allowed to call APIs."})
"""Said to who shows nothing; the second where REQUIRE_SIGNIN_VIEW is on (routers/api/v1/api.go)."""
_SECOND_FACTOR = re.compile(
    r"basic authorization is not allowed while webauthn enrolled|invalid provided OTP", re.IGNORECASE
)
"""Said to a right password alone. The latter by Forgejo, and by Gitea before it came to hide it."""
SECOND_FACTOR = (
    "has two-factor login, so Gitea takes no password of its from `docker login`: turn two-factor login off for it, or "
    "name another user"
)
BASIC_OFF = (
    "Gitea looks at no password that is shown to it (Basic), so that neither the old nor a new one opens the registry: "
    "set `ENABLE_BASIC_AUTHENTICATION = true` in its section `[service]`, and see that no proxy takes the header "
    "`Authorization` away"
)


def is_off(client: Client) -> bool:
    """Whether Gitea takes no notice of passwords: it answers a made-up one of nobody's as it answers who shows none.

    Raises Unreachable.
    """
    made_up = http.basic(f"nobody-{secrets.token_hex(8)}", Password(secrets.token_hex(16)))
    response = client.get(_WHO, made_up)
    return response.status_code in NOT_TOLD and message(response) in _NOT_LOOKED_AT


def is_right_but_not_enough(client: Client, username: str, password: Password) -> bool:
    """Whether a password that the registry refused is right, and a second factor is asked for. Raises Unreachable."""
    response = client.get(_WHO, http.basic(username, password))
    return _SECOND_FACTOR.fullmatch(message(response)) is not None
