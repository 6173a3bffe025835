"""The translated template. Each test names the line of the deployment notes, or the section of the design, it holds."""

import re

import pytest

from rekey.settings import Settings
from tests.structure import event_checks, record_checks, role_checks, template, template_checks
from tests.structure.asl import ROOT
from tests.structure.template import Template


@pytest.fixture(scope="module")
def written() -> Template:
    return template.load()


def test_the_first_deploy_meets_no_circle(written: Template) -> None:
    """Deploying: circular dependencies stop the first deploy."""
    assert template_checks.circles(written) == []


def test_the_machine_is_known_by_its_name(written: Template) -> None:
    """Deploying: the machine has a fixed name, and functions build its ARN."""
    assert template_checks.machine_without_fixed_name(written) == []


def test_key_policies_know_roles_by_their_names(written: Template) -> None:
    """Deploying: key policies allow the account with a condition on fixed role names."""
    assert record_checks.key_policies_that_name_roles(written) == []


def test_functions_have_no_versions(written: Template) -> None:
    """Deploying: executions run on the functions as they are deployed."""
    assert template_checks.versions(written) == []


def test_the_machine_may_log_and_logs_no_data(written: Template) -> None:
    """Deploying: SAM leaves out the statement for log delivery; the group's place; execution data off."""
    assert template_checks.unlogged_machine(written) == []


def test_every_role_takes_the_boundary(written: Template) -> None:
    """Deploying: SAM leaves it out on the machine's and the scheduler's roles."""
    assert template_checks.roles_without_boundary(written) == []


def test_concurrency_is_reserved_only_on_request(written: Template) -> None:
    """Deploying: reserved concurrency rolls the stack back on a new account."""
    assert template_checks.concurrency(written) == []


def test_three_keys_each_for_its_own(written: Template) -> None:
    """Deploying: escrow with its encryption context, data, and signing of digests by report alone."""
    assert record_checks.keys(written) == []


def test_one_layer_one_platform(written: Template) -> None:
    """Deploying, Lambda: arm64 wheels; the layer carries the lock's boto3."""
    assert template_checks.platform(written) == []


def test_tasks_outwait_their_functions(written: Template) -> None:
    """Lambda: a cold start may take 10 s before the invocation, and a takeover waits for the longest function."""
    assert template_checks.timeouts(written) == []


def test_every_loss_is_kept_and_alarms(written: Template) -> None:
    """Lambda: dead-letter queues and on-failure destinations see different losses."""
    assert event_checks.losses(written) == []


def test_what_fails_may_be_sent_to_its_queue(written: Template) -> None:
    """Lambda: a destination that may not be written to loses in silence."""
    assert event_checks.unsendable(written) == []


def test_powertools_captures_nothing(written: Template) -> None:
    """Lambda: the tracer's capture of responses and errors is off."""
    assert template_checks.powertools(written) == []


def test_the_bus_denies_who_is_not_listed(written: Template) -> None:
    """EventBridge: in one account an Allow limits nobody."""
    assert event_checks.open_bus(written) == []


def test_the_bus_lists_whoever_may_put(written: Template) -> None:
    """EventBridge: a function that is not listed would be denied what its role allows."""
    assert event_checks.unlisted(written) == []


def test_no_event_that_tells_starts_anything(written: Template) -> None:
    """EventBridge: no rule to trigger matches what Rekey itself says."""
    assert event_checks.loops(written) == []


def test_one_tick_a_minute(written: Template) -> None:
    """Flow: the tick is the only thing that comes back."""
    assert event_checks.tick(written) == []


def test_the_webhook_is_off_by_default(written: Template) -> None:
    """HTTP API: public only where a source is configured."""
    assert event_checks.public_webhook(written) == []


def test_the_escrow_is_in_no_backup(written: Template) -> None:
    """DynamoDB: point-in-time recovery and streams on the ledger's side only."""
    assert record_checks.backups(written) == []


def test_records_outlive_the_stack(written: Template) -> None:
    """Who may do what: versioned, encrypted, never public, over TLS alone, kept."""
    assert record_checks.records(written) == []


def test_every_function_has_a_role_of_its_own(written: Template) -> None:
    """Who may do what: one role a function."""
    assert role_checks.shared_roles(written) == []


def test_no_role_has_a_wildcard(written: Template) -> None:
    """Who may do what: only the calls it makes."""
    assert role_checks.wildcards(written) == []


def test_what_a_role_allows_stands_in_the_template(written: Template) -> None:
    """Who may do what: no policy from elsewhere."""
    assert role_checks.foreign_policies(written) == []


def test_each_right_has_its_owner(written: Template) -> None:
    """Who may do what: reset writes the store, report signs, trigger starts, notify publishes."""
    assert role_checks.rights_of_others(written) == []


def test_only_reset_reads_and_deletes_in_the_escrow(written: Template) -> None:
    """Who may do what: begin lists keys, and the table itself denies everybody else."""
    assert role_checks.escrow(written) == []
    assert role_checks.undenied_escrow(written) == []


def test_nothing_else_is_deleted(written: Template) -> None:
    """Who may do what: deletes elsewhere are denied."""
    assert role_checks.deletes(written) == []


def test_the_public_function_can_do_next_to_nothing(written: Template) -> None:
    """Who may do what: webhook reads its sources' keys."""
    assert role_checks.webhook(written) == []


def test_secrets_are_read_by_whom_needs_them(written: Template) -> None:
    """Who may do what: begin the store; distribute, reset and verify the credentials too."""
    assert role_checks.secrets(written) == []


def test_definition_and_template_agree(written: Template) -> None:
    assert template_checks.substitutions(written) == []
    assert template_checks.steps(written) == []


def test_logs_end(written: Template) -> None:
    assert template_checks.retention(written) == []


def test_no_account_is_named(written: Template) -> None:
    assert template_checks.accounts(written) == []


def test_functions_are_told_what_they_read(written: Template) -> None:
    """A variable that nobody reads, or nobody sets, is a duration that cannot be changed."""
    settings = (ROOT / "layers" / "rekey" / "rekey" / "settings.py").read_text("utf-8")
    read = set(re.findall(r'"(REKEY_[A-Z_]+)"', settings))
    told = {name for body in written.functions().values() for name in body["Environment"]["Variables"]}

    assert {name for name in told if name.startswith("REKEY_")} == read


def test_the_templates_defaults_are_the_codes(written: Template) -> None:
    """A function that runs without the template behaves as it does with it."""
    named = {
        name: value
        for name, value in written.source["Globals"]["Function"]["Environment"]["Variables"].items()
        if name.startswith("REKEY_")
    }
    values = {
        name: written.default(value["Ref"])
        for name, value in named.items()
        if "Ref" in value and value["Ref"] in written.source["Parameters"]
    }

    assert Settings.from_env(values) == Settings.from_env({})


def test_cloudformation_would_take_it(written: Template) -> None:
    """Deploying: cfn-lint, without an ignored finding, also on what SAM makes of the template."""
    assert template_checks.rejected(written) == []
