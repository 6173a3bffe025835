"""The translated template. Each test names the line of the deployment notes, or the section of the design, it holds."""

import json
import re
from collections.abc import Callable

import pytest
from cfnlint.api import lint

from rekey.settings import Settings
from tests.structure import event_checks, record_checks, role_checks, template, template_checks
from tests.structure.asl import ROOT
from tests.structure.template import Node, Template

Check = Callable[[Template], list[str]]


@pytest.fixture(scope="module")
def written() -> Template:
    return template.load()


def resource(source: Node, name: str) -> Node:
    found: Node = source["Resources"][name]
    return found


def properties(source: Node, name: str) -> Node:
    found: Node = resource(source, name)["Properties"]
    return found


def parameter(source: Node, name: str, value: object) -> None:
    source["Parameters"][name]["Default"] = value


def variables(source: Node) -> Node:
    found: Node = source["Globals"]["Function"]["Environment"]["Variables"]
    return found


def statement(source: Node, role: str, sid: str) -> Node:
    for policy in properties(source, role)["Policies"]:
        for found in policy["PolicyDocument"]["Statement"]:
            if found["Sid"] == sid:
                given: Node = found
                return given
    raise KeyError(sid)


def allow(source: Node, role: str, action: str, on: object) -> None:
    policy = properties(source, role)["Policies"][0]["PolicyDocument"]
    policy["Statement"].append({"Sid": "More", "Effect": "Allow", "Action": action, "Resource": on})


def key_statement(source: Node, key: str, sid: str) -> Node:
    given = properties(source, key)["KeyPolicy"]["Statement"]
    found: Node = next(one for one in given if one.get("Sid") == sid)
    return found


def bucket_policy(source: Node) -> list[Node]:
    found: list[Node] = properties(source, "BucketPolicy")["PolicyDocument"]["Statement"]
    return found


def events_of(source: Node, function: str) -> Node:
    found: Node = properties(source, function)["Events"]
    return found


def arn(name: str) -> Node:
    return {"Fn::GetAtt": [name, "Arn"]}


# Each check, and one thing wrong with the template that it must find.
BROKEN: list[tuple[Check, Callable[[Node], object]]] = [
    (template_checks.circles, lambda t: variables(t).update(REKEY_STATE_MACHINE_ARN={"Ref": "RotationMachine"})),
    (
        template_checks.circles,
        lambda t: key_statement(t, "EscrowKey", "ResetSealsAndOpens").update(Principal={"AWS": arn("ResetRole")}),
    ),
    (
        template_checks.machine_without_fixed_name,
        lambda t: variables(t).update(REKEY_STATE_MACHINE_ARN={"Fn::Sub": "${RotationMachine}"}),
    ),
    (template_checks.machine_without_fixed_name, lambda t: properties(t, "RotationMachine").pop("Name")),
    (template_checks.versions, lambda t: properties(t, "BeginFunction").update(AutoPublishAlias="live")),
    (template_checks.unlogged_machine, lambda t: statement(t, "RotationRole", "Logs")["Action"].pop(0)),
    (
        template_checks.unlogged_machine,
        lambda t: properties(t, "RotationLogs").update(LogGroupName={"Fn::Sub": "/aws/${AWS::StackName}"}),
    ),
    (
        template_checks.unlogged_machine,
        lambda t: properties(t, "RotationMachine")["Logging"].update(IncludeExecutionData=True),
    ),
    (template_checks.roles_without_boundary, lambda t: properties(t, "TickRole").pop("PermissionsBoundary")),
    (template_checks.roles_without_boundary, lambda t: properties(t, "RotationMachine").pop("Role")),
    (template_checks.concurrency, lambda t: parameter(t, "ReservedConcurrency", 10)),
    (template_checks.concurrency, lambda t: properties(t, "ResetFunction").update(ReservedConcurrentExecutions=1)),
    (
        template_checks.concurrency,
        lambda t: properties(t, "RotationMachine")["DefinitionSubstitutions"].update(MapConcurrency=40),
    ),
    (template_checks.platform, lambda t: t["Globals"]["Function"].update(Architectures=["x86_64"])),
    (template_checks.platform, lambda t: t["Globals"]["Function"].pop("Layers")),
    (template_checks.platform, lambda t: resource(t, "RekeyLayer")["Metadata"].update(BuildArchitecture="x86_64")),
    (template_checks.timeouts, lambda t: parameter(t, "ResetTaskTimeout", 149)),
    (template_checks.timeouts, lambda t: parameter(t, "ResetTimeout", 301)),
    (template_checks.timeouts, lambda t: properties(t, "ResetFunction").update(Timeout=120)),
    (
        template_checks.timeouts,
        lambda t: properties(t, "RotationMachine")["DefinitionSubstitutions"].update(ResetTaskTimeout=150),
    ),
    (template_checks.timeouts, lambda t: variables(t).update(REKEY_LONGEST_TIMEOUT="300")),
    (
        template_checks.substitutions,
        lambda t: properties(t, "RotationMachine")["DefinitionSubstitutions"].pop("PassBudget"),
    ),
    (template_checks.steps, lambda t: properties(t, "ResetFunction").update(CodeUri="functions/reset-2")),
    (template_checks.steps, lambda t: statement(t, "RotationRole", "Steps")["Resource"].pop()),
    (template_checks.steps, lambda t: statement(t, "RotationRole", "Steps")["Resource"].append(arn("NotifyFunction"))),
    (template_checks.powertools, lambda t: variables(t).pop("POWERTOOLS_TRACER_CAPTURE_ERROR")),
    (template_checks.powertools, lambda t: variables(t).update(POWERTOOLS_LOGGER_LOG_EVENT="true")),
    (template_checks.retention, lambda t: properties(t, "ResetLogs").pop("RetentionInDays")),
    (template_checks.retention, lambda t: properties(t, "ResetFunction").pop("LoggingConfig")),
    (template_checks.accounts, lambda t: variables(t).update(ACCOUNT="1234" * 3)),
    (
        record_checks.backups,
        lambda t: properties(t, "EscrowTable").update(
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        ),
    ),
    (record_checks.backups, lambda t: properties(t, "LedgerTable").pop("PointInTimeRecoverySpecification")),
    (
        record_checks.backups,
        lambda t: properties(t, "EscrowTable").update(StreamSpecification={"StreamViewType": "NEW_IMAGE"}),
    ),
    (record_checks.keys, lambda t: properties(t, "EscrowTable")["SSESpecification"].pop("KMSMasterKeyId")),
    (record_checks.keys, lambda t: properties(t, "Undelivered").pop("KmsMasterKeyId")),
    (record_checks.keys, lambda t: key_statement(t, "EscrowKey", "ResetSealsAndOpens")["Condition"].pop("Null")),
    (record_checks.keys, lambda t: key_statement(t, "EscrowKey", "ResetSealsAndOpens")["Condition"].pop("ArnEquals")),
    (record_checks.keys, lambda t: key_statement(t, "SigningKey", "ReportSigns")["Condition"].pop("StringEquals")),
    (record_checks.keys, lambda t: properties(t, "SigningKey").pop("KeyUsage")),
    (
        record_checks.key_policies_that_name_roles,
        lambda t: key_statement(t, "SigningKey", "ReportSigns").update(Principal={"AWS": arn("ReportRole")}),
    ),
    (record_checks.records, lambda t: resource(t, "LedgerTable").pop("DeletionPolicy")),
    (record_checks.records, lambda t: properties(t, "Bucket").pop("VersioningConfiguration")),
    (record_checks.records, lambda t: properties(t, "Bucket").pop("PublicAccessBlockConfiguration")),
    (record_checks.records, lambda t: bucket_policy(t).pop(0)),
    (event_checks.losses, lambda t: events_of(t, "TriggerFunction")["Tick"]["Properties"].pop("DeadLetterConfig")),
    (event_checks.losses, lambda t: events_of(t, "NotifyFunction")["Told"]["Properties"].pop("DeadLetterConfig")),
    (event_checks.losses, lambda t: properties(t, "TriggerFunction").pop("EventInvokeConfig")),
    (
        event_checks.losses,
        lambda t: properties(t, "NotifyFunction")["EventInvokeConfig"]["DestinationConfig"]["OnFailure"].update(
            Destination=arn("Undelivered")
        ),
    ),
    (event_checks.losses, lambda t: t["Resources"].pop("UndeliveredAlarm")),
    (event_checks.unsendable, lambda t: statement(t, "TriggerRole", "WhatFailed").update(Resource=arn("Undelivered"))),
    (event_checks.unsendable, lambda t: statement(t, "TickRole", "DeadLetters").update(Effect="Deny")),
    (event_checks.unsendable, lambda t: t["Resources"].pop("UndeliveredPolicy")),
    (event_checks.open_bus, lambda t: t["Resources"].pop("BusOnlyFromListed")),
    (event_checks.open_bus, lambda t: t["Resources"].pop("BusTellsItself")),
    (event_checks.open_bus, lambda t: properties(t, "BusOnlyFromListed")["Statement"].update(Effect="Allow")),
    (event_checks.unlisted, lambda t: allow(t, "DistributeRole", "events:PutEvents", arn("Bus"))),
    (event_checks.unlisted, lambda t: statement(t, "ReportRole", "Tells").update(Effect="Deny")),
    (
        event_checks.loops,
        lambda t: events_of(t, "TriggerFunction")["Asked"]["Properties"].update(
            Pattern={"source": [{"prefix": "rekey"}]}
        ),
    ),
    (
        event_checks.loops,
        lambda t: events_of(t, "TriggerFunction")["Asked"]["Properties"]["Pattern"]["detail-type"].pop(),
    ),
    (
        event_checks.tick,
        lambda t: events_of(t, "TriggerFunction")["Tick"]["Properties"].update(ScheduleExpression="rate(5 minutes)"),
    ),
    (event_checks.tick, lambda t: parameter(t, "TickRate", "rate(5 minutes)")),
    (event_checks.public_webhook, lambda t: resource(t, "WebhookApi").pop("Condition")),
    (event_checks.public_webhook, lambda t: parameter(t, "WebhookSources", '{"siem": {}}')),
    (role_checks.shared_roles, lambda t: properties(t, "VerifyFunction").update(Role=arn("ResetRole"))),
    (role_checks.wildcards, lambda t: allow(t, "VerifyRole", "dynamodb:*", arn("LedgerTable"))),
    (role_checks.wildcards, lambda t: allow(t, "VerifyRole", "dynamodb:GetItem", "*")),
    (
        role_checks.foreign_policies,
        lambda t: properties(t, "VerifyRole")["ManagedPolicyArns"].append(
            "arn:aws:iam::aws:policy/AdministratorAccess"
        ),
    ),
    (role_checks.rights_of_others, lambda t: allow(t, "DistributeRole", "secretsmanager:PutSecretValue", "x")),
    (role_checks.rights_of_others, lambda t: allow(t, "WebhookRole", "states:StartExecution", "x")),
    (role_checks.escrow, lambda t: allow(t, "VerifyRole", "dynamodb:GetItem", arn("EscrowTable"))),
    (role_checks.escrow, lambda t: statement(t, "BeginRole", "EscrowKeys").pop("Condition")),
    (role_checks.undenied_escrow, lambda t: properties(t, "EscrowTable").pop("ResourcePolicy")),
    (role_checks.deletes, lambda t: allow(t, "DistributeRole", "s3:DeleteObject", arn("Bucket"))),
    (role_checks.deletes, lambda t: statement(t, "ReportRole", "NoLongerOpen").pop("Condition")),
    (role_checks.webhook, lambda t: allow(t, "WebhookRole", "dynamodb:PutItem", arn("LedgerTable"))),
    (role_checks.webhook, lambda t: statement(t, "WebhookRole", "Asks").pop("Condition")),
    (role_checks.secrets, lambda t: allow(t, "ReportRole", "secretsmanager:GetSecretValue", {"Fn::Sub": "x"})),
    (role_checks.secrets, lambda t: statement(t, "ResetRole", "Store").update(Resource="*")),
]


@pytest.mark.parametrize(("check", "damage"), BROKEN, ids=[check.__name__ for check, _ in BROKEN])
def test_each_check_sees_what_it_is_for(written: Template, check: Check, damage: Callable[[Node], object]) -> None:
    assert check(written.changed(damage))


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
    """Who may do what: begin and verify the store, distribute and reset the credentials too."""
    assert role_checks.secrets(written) == []


def test_definition_and_template_agree(written: Template) -> None:
    assert template_checks.substitutions(written) == []
    assert template_checks.steps(written) == []


def test_logs_end(written: Template) -> None:
    assert template_checks.retention(written) == []


def test_no_account_is_named(written: Template) -> None:
    assert template_checks.accounts(written) == []


def test_every_check_is_tried_on_a_broken_template() -> None:
    modules = (template_checks, event_checks, record_checks, role_checks)
    own = {
        check
        for module in modules
        for name, check in vars(module).items()
        if callable(check) and getattr(check, "__module__", "") == module.__name__ and not name.startswith("_")
    }

    assert own == {check for check, _ in BROKEN}


def test_functions_are_told_what_they_read(written: Template) -> None:
    """A variable that nobody reads, or nobody sets, is a duration that cannot be changed."""
    code = "".join(path.read_text("utf-8") for path in (ROOT / "layers" / "rekey" / "rekey").rglob("*.py"))
    read = set(re.findall(r'"(REKEY_[A-Z_]+)"', code))
    told = {name for body in written.functions().values() for name in body["Environment"]["Variables"]}

    assert {name for name in told if name.startswith("REKEY_")} == read


def test_the_templates_defaults_are_the_codes(written: Template) -> None:
    """A function that runs without the template behaves as it does with it."""
    named = {name: value for name, value in variables(written.source).items() if name.startswith("REKEY_")}
    values = {
        name: written.default(value["Ref"])
        for name, value in named.items()
        if "Ref" in value and value["Ref"] in written.source["Parameters"]
    }

    assert Settings.from_env(values) == Settings.from_env({})


def test_cloudformation_would_take_the_translation(written: Template) -> None:
    """`sam validate` lints what is written; this is what is deployed."""
    translated = json.dumps(written.body)

    assert [str(match) for match in lint(translated)] == []


def test_cloudformation_would_take_the_template() -> None:
    assert [str(match) for match in lint(template.TEMPLATE.read_text("utf-8"))] == []
