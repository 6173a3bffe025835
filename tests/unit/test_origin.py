"""Origins: which servers a plan may name, and how."""

from __future__ import annotations

import pytest

from rekey.model.origin import Origin


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example.com", Origin("https", "registry.example.com", 443)),
        ("registry.example.com:5000", Origin("https", "registry.example.com", 5000)),
        ("HTTPS://Registry.Example.COM:443/", Origin("https", "registry.example.com", 443)),
        ("https://api.example.com/v1/", Origin("https", "api.example.com", 443, "/v1")),
        ("registry.example.com.", Origin("https", "registry.example.com", 443)),
        ("http://localhost:5000", Origin("http", "localhost", 5000)),
        ("http://127.0.0.1:5000", Origin("http", "127.0.0.1", 5000)),
        ("http://[::1]:5000", Origin("http", "::1", 5000)),
        ("10.0.0.7", Origin("https", "10.0.0.7", 443)),
        ("my_registry.internal", Origin("https", "my_registry.internal", 443)),
    ],
)
def test_what_is_an_origin(text: str, expected: Origin) -> None:
    assert Origin.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "http://169.254.169.254/latest/meta-data",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "0.0.0.0",  # noqa: S104 (refused, not bound to)
        "[::]",
    ],
)
def test_addresses_of_the_metadata_service_are_refused_in_every_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="metadata service"):
        Origin.parse(text)


@pytest.mark.parametrize("text", ["2852039166", "0xa9fea9fe", "169.254.43518", "169.254.169.0xfe", "127.1"])
def test_numbers_that_resolvers_take_for_addresses_are_refused(text: str) -> None:
    """`getaddrinfo` reads 2852039166 as 169.254.169.254."""
    with pytest.raises(ValueError, match="neither a name nor an address"):
        Origin.parse(text)


@pytest.mark.parametrize("text", ["http://registry.example.com", "http://10.0.0.7", "http://localhost.example.com"])
def test_plain_http_only_to_this_machine(text: str) -> None:
    with pytest.raises(ValueError, match="use https"):
        Origin.parse(text)


@pytest.mark.parametrize(
    "text",
    ["https://robot@registry.example.com", "https://a:b@c.example", "a.example?x=1", "a.example#x", "@a.example"],
)
def test_an_origin_holds_no_credential_and_no_query(text: str) -> None:
    with pytest.raises(ValueError, match="credentials are references"):
        Origin.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "ftp://a.example",
        "a b.example",
        "a\nb.example",
        "a\tb.example",
        "a.example\x00",
        "a.example\\b",
        "exämple.com",
        "a\u2100b.example",
        "*.example.com",
        "a.example,b.example",
        "a..example",
        "-a.example",
        "a.example:x",
        "a.example:65536",
        "a.example:0",
        "::1",
        "[::1",
        "https://a.example/b c",
    ],
)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(write a host|the host|the port)"):
        Origin.parse(text)


def test_two_origins_are_one_server_only_with_the_same_scheme_host_and_port() -> None:
    one = Origin.parse("https://a.example/v1")
    assert one.same_server(Origin.parse("a.example:443/other"))
    assert not one.same_server(Origin.parse("a.example:444"))
    assert not one.same_server(Origin.parse("b.example"))
    assert not Origin.parse("http://localhost:443").same_server(Origin.parse("https://localhost"))


@pytest.mark.parametrize(
    ("text", "netloc"),
    [("a.example:443", "a.example"), ("a.example:5000", "a.example:5000"), ("[::1]:5000", "[::1]:5000")],
)
def test_the_netloc_leaves_out_the_scheme_s_own_port(text: str, netloc: str) -> None:
    assert Origin.parse(text).netloc == netloc
    assert Origin.parse(text).base == f"https://{netloc}"
