"""Scheme, host and port: what a credential is bound to."""

import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}


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

        Raises ValueError for anything with a user, a query or a fragment in it, for link-local addresses (the cloud's
        metadata service lives there), and for plain http to anything but this machine.
        """
        parts = urlsplit(text if "://" in text else f"https://{text}")
        try:
            port = parts.port
        except ValueError:
            raise ValueError("the port is not a number below 65536") from None
        host = (parts.hostname or "").rstrip(".")
        if parts.scheme not in _PORTS or not host:
            raise ValueError("write a host such as `registry.example.com` or a URL such as `https://api.example.com`")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("leave user, password, query and fragment out of it: credentials are references")
        if _link_local(host):
            raise ValueError("link-local addresses are refused: the cloud's metadata service lives there")
        if parts.scheme == "http" and not _loopback(host):
            raise ValueError("plain http would send credentials readable: use https")
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
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _link_local(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_link_local


def _loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)
