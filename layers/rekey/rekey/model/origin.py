"""Scheme, host and port: what a credential is bound to."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""A host that ends in a number is an address to resolvers: `2852039166` is 169.254.169.254 (inet_aton)."""
_METADATA_V6 = ipaddress.ip_address("fd00:ec2::254")
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html"""


@dataclass(frozen=True)
class Origin:
    """One server as a client names it. Two are the same only if scheme, host and port are."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the origin of `host`, `host:port` or a URL.

        Raises ValueError for anything with a user, a query or a fragment in it, for what is no host name or address,
        for link-local addresses (the cloud's metadata service lives there), and for plain http to anything but this
        machine.
        """
        if any(sign in text for sign in "@?#"):
            raise ValueError("leave user, password, query and fragment out of it: credentials are references")
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
            port, host = parts.port, (parts.hostname or "").rstrip(".")
        except ValueError:
            raise ValueError("the host or its port cannot be read: a port is a number below 65536") from None
        if parts.scheme not in _PORTS or not host or not re.fullmatch(r"[!-\[\]-~]+", text):
            raise ValueError("write a host such as `registry.example.com` or a URL such as `https://api.example.com`")
        address = _address(host)
        if address is None and (not _NAME.fullmatch(host) or _NUMBER.fullmatch(host)):
            raise ValueError(
                "the host is neither a name nor an address: write it as DNS has it (xn--… for other letters)"
            )
        if address is not None and (address.is_link_local or address.is_unspecified or address == _METADATA_V6):
            raise ValueError("this address is refused: the cloud's metadata service lives at such ones")
        if parts.scheme == "http" and not (host == "localhost" or (address is not None and address.is_loopback)):
            raise ValueError("plain http would send credentials readable: use https")
        if port == 0:
            raise ValueError("the port must not be 0")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))

    def same_server(self, other: "Origin") -> bool:
        """Whether scheme, host and port are the same."""
        return (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)

    @property
    def netloc(self) -> str:
        """Host, with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def base(self) -> str:
        """`scheme://host[:port]`, without a path."""
        return f"{self.scheme}://{self.netloc}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
