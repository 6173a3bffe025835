"""What must hold of bus, rules, tick and webhook. Each check returns what is wrong, one sentence a finding."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, cast

from moto.events.models import EventPattern

from rekey.bus import ASKING, PASTED, PASTED_SOURCE, SOURCE, Told
from tests.structure import policies
from tests.structure.template import Node, Template, references

if TYPE_CHECKING:
    from moto.events.utils import EventMessageType


def losses(template: Template) -> list[str]:
    """Find an event or a tick that could be lost without a queue that keeps it, and an alarm on that queue."""
    targets = chain(
        (target for rule in template.properties("AWS::Events::Rule").values() for target in rule["Targets"]),
        (schedule["Target"] for schedule in template.properties("AWS::Scheduler::Schedule").values()),
    )
    found = ["a target has no dead-letter queue" for target in targets if "DeadLetterConfig" not in target]
    failures = {
        str(body["FunctionName"]["Ref"]): body.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        for body in template.properties("AWS::Lambda::EventInvokeConfig").values()
    }
    found += [
        f"{name} has no on-failure destination of its own"
        for name in ("TriggerFunction", "NotifyFunction")
        if failures.get(name) in (None, {"Fn::GetAtt": ["Undelivered", "Arn"]})
    ]
    alarmed = {
        name
        for body in template.properties("AWS::CloudWatch::Alarm").values()
        if body["MetricName"] == "ApproximateNumberOfMessagesVisible" and "AlarmActions" in body
        for name in references(body["Dimensions"])
    }
    return found + [f"nothing alarms on {name}" for name in template.resources("AWS::SQS::Queue").keys() - alarmed]


def unsendable(template: Template) -> list[str]:
    """Find a queue that what fails may not be sent to: it would be lost in silence."""
    found = [
        f"{name} may not send to {queue}"
        for name, queue in (("trigger", "TriggerFailures"), ("notify", "NotifyFailures"))
        if name not in policies.who_may(template, "sqs:SendMessage", about=queue)
    ]
    tick_may = policies.of_role(template, template.properties("AWS::IAM::Role")["TickRole"])
    sends = [one for one in tick_may if one.effect == "Allow" and "sqs:SendMessage" in one.actions]
    if not any(one.about("Undelivered") for one in sends):
        found.append("the schedule may not send to its dead-letter queue")
    given = [one for body in template.properties("AWS::SQS::QueuePolicy").values() for one in _document(body)]
    rules = [one for one in given if one.principal == {"Service": "events.amazonaws.com"} and one.about("Undelivered")]
    return found if rules else [*found, "the rules may not send to their dead-letter queue"]


def open_bus(template: Template) -> list[str]:
    """Find a bus on which anybody of the account may put events: in one account only a Deny limits."""
    given = [
        statement
        for body in template.properties("AWS::Events::EventBusPolicy").values()
        for statement in policies.statements({"Statement": body["Statement"]})
    ]
    found = ["a policy of the bus allows" for statement in given if statement.effect != "Deny"]
    denied = [one for one in given if one.actions == ("events:PutEvents",) and one.principal == "*"]
    listed = [one for one in denied if list(one.condition) == ["ArnNotLike"]]
    telling = [one for one in denied if "ForAnyValue:StringEquals" in one.condition]
    if not any("aws:PrincipalArn" in one.condition["ArnNotLike"] for one in listed):
        found.append("PutEvents is not denied to who is not listed")
    forged = any(one.condition["ForAnyValue:StringEquals"] == {"events:source": ["rekey"]} for one in telling)
    return found if forged else [*found, "who may ask may also say that something happened"]


def unlisted(template: Template) -> list[str]:
    """Find functions that may put events and are not listed on the bus, or are listed and may not."""
    policy = template.properties("AWS::Events::EventBusPolicy")
    listed = json.dumps(policy["BusOnlyFromListed"]["Statement"]["Condition"])
    telling = json.dumps(policy["BusTellsItself"]["Statement"]["Condition"])
    may = policies.who_may(template, "events:PutEvents")
    found = [name for name in template.functions() if (f'-{name}"' in listed) != (name in may)]
    return found + [name for name in template.functions() if (f'-{name}"' in telling) != (name in may - {"webhook"})]


def loops(template: Template) -> list[str]:
    """Find an event that tells and reaches trigger, or one that does not reach whom it is for."""
    patterns = {
        rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]: EventPattern.load(json.dumps(rule["EventPattern"]))
        for rule in template.properties("AWS::Events::Rule").values()
    }
    tells = {(SOURCE, told.value): "NotifyFunction" for told in Told}
    asks = {("rekey.in/console", ASKING): "TriggerFunction", (PASTED_SOURCE, PASTED): "TriggerFunction"}
    found = []
    for (source, detail_type), wanted in (tells | asks).items():
        event = {"source": source, "detail-type": detail_type, "detail": {"registry": "prod-images"}}
        reached = [name for name, pattern in patterns.items() if pattern.matches_event(cast("EventMessageType", event))]
        if reached != [wanted]:
            found.append(f"{detail_type} of {source} reaches {', '.join(reached) or 'nobody'}")
    return found


def tick(template: Template) -> list[str]:
    """Find a tick that is not the one call of trigger at the rate of the parameter."""
    schedules = list(template.properties("AWS::Scheduler::Schedule").values())
    if len(schedules) != 1:
        return [f"{len(schedules)} schedules"]
    target = schedules[0]["Target"]
    found = [] if schedules[0]["ScheduleExpression"] == {"Ref": "TickRate"} else ["the rate is no parameter"]
    if json.loads(target["Input"]) != {"call": "tick"} or target["Arn"] != {"Fn::GetAtt": ["TriggerFunction", "Arn"]}:
        found.append("the schedule does not tick")
    return found if template.default("TickRate") == "rate(1 minute)" else [*found, "it does not tick once a minute"]


def public_webhook(template: Template) -> list[str]:
    """Find a public endpoint that is there without a source being configured, or that takes what it should not."""
    exposed = ("AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage", "AWS::ApiGateway::RestApi", "AWS::Lambda::Url")
    found = [
        f"{name} is there without a source"
        for kind in exposed
        for name, body in template.resources(kind).items()
        if body.get("Condition") != "HasWebhook"
    ]
    for name, body in template.properties("AWS::Lambda::Permission").items():
        resource = template.body["Resources"][name]
        if body["Principal"] == "apigateway.amazonaws.com" and resource.get("Condition") != "HasWebhook":
            found.append(f"{name} is there without a source")
    off = template.source["Conditions"]["HasWebhook"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "WebhookSources"}, ""]}]}
    return found if off and template.default("WebhookSources") == "" else [*found, "the webhook is on by default"]


def _document(body: Node) -> Iterator[policies.Statement]:
    return policies.statements(body["PolicyDocument"])
