"""What must hold for the stack to deploy and run. Each check returns what is wrong, one sentence a finding."""

import json
import re

from cfnlint.api import lint

from tests.structure import policies
from tests.structure.asl import DEFINITION, PLACEHOLDER, ROOT
from tests.structure.template import Template, references

COLD_START = 30
"""Seconds a Task waits longer than the function runs."""
LONGEST = "DistributeTimeout"
STEPS = ("begin", "reset", "distribute", "verify", "report")
MACHINE = {"Fn::Sub": "${AWS::StackName}-rotation"}
BOUNDARY = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}


def circles(template: Template) -> list[str]:
    """Find circular dependencies: they stop the first deploy (E3004)."""
    needs = {
        name: set(references(body)) & template.body["Resources"].keys()
        for name, body in template.body["Resources"].items()
    }
    while free := {name for name, needed in needs.items() if not needed}:
        needs = {name: needed - free for name, needed in needs.items() if name not in free}
    return [f"{name} needs {', '.join(sorted(needed))}" for name, needed in needs.items()]


def machine_without_fixed_name(template: Template) -> list[str]:
    """Find what would make the functions depend on the machine that depends on them."""
    machine = template.properties("AWS::StepFunctions::StateMachine")["RotationMachine"]
    arn = template.source["Globals"]["Function"]["Environment"]["Variables"]["REKEY_STATE_MACHINE_ARN"]
    found = [] if machine.get("StateMachineName") == MACHINE else ["the machine has no fixed name"]
    built = arn.get("Fn::Sub", "").endswith(":stateMachine:${AWS::StackName}-rotation")
    return found if built else [*found, "the functions do not build the machine's ARN from its name"]


def versions(template: Template) -> list[str]:
    """Find published versions and aliases: executions run on the functions as they are deployed."""
    kinds = ("AWS::Lambda::Version", "AWS::Lambda::Alias", "AWS::StepFunctions::StateMachineAlias")
    return [name for kind in kinds for name in template.resources(kind)]


def unlogged_machine(template: Template) -> list[str]:
    """Find what keeps the machine from its log, or puts execution data into it."""
    machine = template.properties("AWS::StepFunctions::StateMachine")["RotationMachine"]
    logging = machine.get("LoggingConfiguration", {})
    group = template.properties("AWS::Logs::LogGroup").get("RotationLogs", {})
    role = template.properties("AWS::IAM::Role")["RotationRole"]
    delivered = {action for one in policies.of_role(template, role) if '"*"' in one.resources for action in one.actions}
    needed = {f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")} | {"logs:ListLogDeliveries"}
    found = [f"{action} is not allowed on *" for action in sorted(needed - delivered)]
    if not group.get("LogGroupName", {}).get("Fn::Sub", "").startswith("/aws/vendedlogs/states/"):
        found.append("the log group is not under /aws/vendedlogs/states/")
    if logging.get("Level") != "ALL" or logging.get("IncludeExecutionData") is not False:
        found.append("the machine does not log everything but execution data")
    if not machine.get("TracingConfiguration", {}).get("Enabled"):
        found.append("the machine is not traced")
    return found


def roles_without_boundary(template: Template) -> list[str]:
    """Find roles without the permissions boundary, the machine's and the scheduler's included."""
    roles = template.properties("AWS::IAM::Role").items()
    return [name for name, role in roles if role.get("PermissionsBoundary") != BOUNDARY]


def concurrency(template: Template) -> list[str]:
    """Find concurrency that is reserved without being asked for, or a Map whose limit is no parameter."""
    wanted = {"Fn::If": ["HasReservedConcurrency", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]}
    reserved = {name: body.get("ReservedConcurrentExecutions") for name, body in template.functions().items()}
    found = [name for name, value in reserved.items() if value not in (None, wanted)]
    if template.default("ReservedConcurrency") != "0":
        found.append("concurrency is reserved by default")
    limit = template.source["Resources"]["RotationMachine"]["Properties"]["DefinitionSubstitutions"]["MapConcurrency"]
    return found if limit == {"Ref": "MapConcurrency"} else [*found, "the Map's limit is no parameter"]


def platform(template: Template) -> list[str]:
    """Find functions that are not python3.13 on arm64 with the one layer, or that SAM would give a layer of its own."""
    layers = list(template.resources("AWS::Lambda::LayerVersion"))
    found = [] if len(layers) == 1 else [f"{len(layers)} layers"]
    for name, body in template.functions().items():
        if (body["Runtime"], body["Architectures"]) != ("python3.13", ["arm64"]) or body["Handler"] != "app.handler":
            found.append(f"{name} runs on {body['Runtime']}, {body['Architectures']}, as {body['Handler']}")
        if body.get("Layers") != [{"Ref": layer} for layer in layers]:
            found.append(f"{name} has other layers")
    layer = template.source["Resources"]["RekeyLayer"]
    built = (
        layer["Metadata"]["BuildMethod"],
        layer["Metadata"]["BuildArchitecture"],
        layer["Properties"]["ContentUri"],
    )
    return found if built == ("python3.13", "arm64", "layers/rekey") else [*found, f"the layer is built as {built}"]


def timeouts(template: Template) -> list[str]:
    """Find a Task that would not wait for its function's cold start, and numbers that stand twice."""
    found = []
    for name, body in template.functions().items():
        function = f"{name.capitalize()}Timeout"
        if body["Timeout"] != {"Ref": function}:
            found.append(f"the timeout of {name} is not the parameter {function}")
    given = template.source["Resources"]["RotationMachine"]["Properties"]["DefinitionSubstitutions"]
    for name in (step.capitalize() for step in STEPS):
        if given.get(f"{name}TaskTimeout") != {"Ref": f"{name}TaskTimeout"}:
            found.append(f"the Task timeout of {name} is not its parameter")
        if int(template.default(f"{name}TaskTimeout")) < int(template.default(f"{name}Timeout")) + COLD_START:
            found.append(f"{name}TaskTimeout is less than {COLD_START} s longer than {name}Timeout")
        if int(template.default(f"{name}Timeout")) > int(template.default(LONGEST)):
            found.append(f"{name}Timeout is longer than {LONGEST}, which a takeover waits for")
    longest = template.source["Globals"]["Function"]["Environment"]["Variables"]["REKEY_LONGEST_TIMEOUT"]
    return found if longest == {"Ref": LONGEST} else [*found, f"REKEY_LONGEST_TIMEOUT is not {LONGEST}"]


def substitutions(template: Template) -> list[str]:
    """Find placeholders of the state machine without a value, and values without a placeholder."""
    given = template.source["Resources"]["RotationMachine"]["Properties"]["DefinitionSubstitutions"]
    return sorted(given.keys() ^ set(PLACEHOLDER.findall(DEFINITION.read_text("utf-8"))))


def steps(template: Template) -> list[str]:
    """Find functions without a folder, folders without a function, steps the machine may not or need not call."""
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    named = {
        body["Properties"]["CodeUri"]: body["Properties"]["FunctionName"]
        for body in template.source["Resources"].values()
        if body["Type"] == "AWS::Serverless::Function"
    }
    expected = {f"functions/{name}": {"Fn::Sub": "${AWS::StackName}-" + name} for name in folders}
    found = [f"{path} is not the function of its folder" for path in sorted(named.keys() ^ expected.keys())]
    found += [f"{path} has another name" for path in named.keys() & expected.keys() if named[path] != expected[path]]
    given = template.source["Resources"]["RotationMachine"]["Properties"]["DefinitionSubstitutions"].values()
    called = {value["Fn::GetAtt"][0] for value in given if "Fn::GetAtt" in value}
    role = template.properties("AWS::IAM::Role")["RotationRole"]
    allowed = [one for one in policies.of_role(template, role) if "lambda:InvokeFunction" in one.actions]
    may = {name for name in template.resources("AWS::Lambda::Function") if any(one.about(name) for one in allowed)}
    return found + [f"the machine's role and definition differ in {name}" for name in sorted(called ^ may)]


def powertools(template: Template) -> list[str]:
    """Find a function whose tracer captures answers and errors, or whose logger logs what it was called with."""
    wanted = {
        "POWERTOOLS_LOGGER_LOG_EVENT": "false",
        "POWERTOOLS_TRACER_CAPTURE_RESPONSE": "false",
        "POWERTOOLS_TRACER_CAPTURE_ERROR": "false",
    }
    return [
        name
        for name, body in template.functions().items()
        if not wanted.items() <= body["Environment"]["Variables"].items()
    ]


def retention(template: Template) -> list[str]:
    """Find logs that are kept for ever, and functions that log elsewhere."""
    groups = template.properties("AWS::Logs::LogGroup")
    found = [name for name, body in groups.items() if body.get("RetentionInDays") != {"Ref": "LogRetention"}]
    for name, body in template.functions().items():
        group = body.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
        if groups.get(group, {}).get("LogGroupName") != {"Fn::Sub": "/aws/lambda/${AWS::StackName}-" + name}:
            found.append(f"{name} has no log group of its own")
    return found


def accounts(template: Template) -> list[str]:
    """Find account numbers."""
    return re.findall(r"\b\d{12}\b", json.dumps(template.source))


def rejected(template: Template) -> list[str]:
    """Find what cfn-lint warns of, in the template as it is written and as it is translated."""
    return [str(match) for document in (template.source, template.body) for match in lint(json.dumps(document))]
