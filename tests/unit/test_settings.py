"""The functions' environment, typed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rekey.errors import InputInvalid
from rekey.settings import Settings


def test_durations_are_seconds() -> None:
    settings = Settings.from_env({"REKEY_PROVE_WITHIN": "2.5", "REKEY_LONGEST_TIMEOUT": "300"})
    assert settings.prove_within == timedelta(seconds=2.5)
    assert settings.longest_timeout == timedelta(minutes=5)


def test_names_are_taken_as_they_are() -> None:
    settings = Settings.from_env({"REKEY_STACK": "prod", "REKEY_LEDGER_TABLE": "prod-ledger"})
    assert (settings.stack, settings.ledger_table, settings.bucket) == ("prod", "prod-ledger", "")


def test_webhook_sources_are_off_where_none_are_named() -> None:
    assert Settings.from_env({}).webhook_sources == {}
    assert Settings.from_env({"REKEY_WEBHOOK_SOURCES": ""}).webhook_sources == {}
    named = Settings.from_env({"REKEY_WEBHOOK_SOURCES": '{"siem": {"secret": "rekey/siem"}}'})
    assert named.webhook_sources == {"siem": {"secret": "rekey/siem"}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REKEY_PROVE_WITHIN", "a minute"),
        ("REKEY_DRAIN_MARGIN", ""),
        ("REKEY_AGAIN_AFTER", "60,,300"),
        ("REKEY_WEBHOOK_SOURCES", "{"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(InputInvalid, match=name):
        Settings.from_env({name: value})


def test_the_tick_waits_longer_try_by_try_and_the_last_wait_repeats() -> None:
    settings = Settings.from_env({"REKEY_AGAIN_AFTER": "60,120,300"})
    waits = [settings.again_in(tries).total_seconds() for tries in range(5)]
    assert waits == [60, 120, 300, 300, 300]


def test_by_default_it_comes_back_after_1_2_5_15_and_then_every_30_minutes() -> None:
    settings = Settings.from_env({})
    assert [settings.again_in(tries).total_seconds() / 60 for tries in range(6)] == [1, 2, 5, 15, 30, 30]


@pytest.mark.parametrize(
    ("prove_within", "pause", "seconds"),
    [("60", "3", 6), ("600", "3", 60), ("20", "3", 3)],
)
def test_a_registry_is_asked_again_some_ten_times_and_never_faster_than_refusals_count(
    prove_within: str, pause: str, seconds: float
) -> None:
    """Each time is a pass of an execution, whose history ends."""
    settings = Settings.from_env({"REKEY_PROVE_WITHIN": prove_within, "REKEY_REFUSAL_PAUSE": pause})
    assert settings.ask_again == timedelta(seconds=seconds)


def test_the_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKEY_BUS", "a-bus")
    assert Settings.from_env().bus == "a-bus"
