"""The checks of the template see what they are for: each is tried on a template that is wrong in one thing."""

from collections.abc import Callable

import pytest

from tests.structure import event_checks, record_checks, role_checks, template, template_checks
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
    (template_checks.rejected, lambda t: properties(t, "BeginFunction").update(Tracing="Sometimes")),
    (template_checks.rejected, lambda t: properties(t, "Undelivered").update(MessageRetentionPeriod=0)),
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
    (
        role_checks.secrets,
        lambda t: statement(t, "BeginRole", "VaultLogin").update(
            Resource=statement(t, "ResetRole", "Credentials")["Resource"]
        ),
    ),
    (
        role_checks.secrets,
        lambda t: statement(t, "BeginRole", "VaultLogin").update(Action="secretsmanager:TagResource"),
    ),
]


@pytest.mark.parametrize(("check", "damage"), BROKEN, ids=[check.__name__ for check, _ in BROKEN])
def test_each_check_sees_what_it_is_for(written: Template, check: Check, damage: Callable[[Node], object]) -> None:
    assert check(written.changed(damage))


def test_every_check_is_tried_on_a_broken_template() -> None:
    modules = (template_checks, event_checks, record_checks, role_checks)
    own = {
        check
        for module in modules
        for name, check in vars(module).items()
        if callable(check) and getattr(check, "__module__", "") == module.__name__ and not name.startswith("_")
    }

    assert own == {check for check, _ in BROKEN}
