"""What the functions may do, and no more (DESIGN, section 7). Each check returns what is wrong, a finding each."""

from tests.structure import policies
from tests.structure.template import Template

ESCROW_READS = ("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:DeleteItem")
DELETES = {"dynamodb:DeleteItem", "s3:DeleteObject", "s3:DeleteObjectVersion", "secretsmanager:DeleteSecret"}
# AWS offers no resource for these.
WITHOUT_RESOURCE = ("xray:", "logs:")

# The one function, or the few, that a right belongs to.
BELONGS: dict[tuple[str, ...], set[str]] = {
    ("states:StartExecution",): {"trigger"},
    ("states:DescribeExecution",): {"trigger", "begin"},
    ("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"): {"reset"},
    ("kms:Sign",): {"report"},
    ("sns:Publish",): {"notify"},
    ("lambda:InvokeFunction",): {"trigger"},
}


def shared_roles(template: Template) -> list[str]:
    """Find functions that share a role, or whose role has another name than policies know it by."""
    roles = template.properties("AWS::IAM::Role")
    named = {name: roles[body["Role"]["Fn::GetAtt"][0]]["RoleName"] for name, body in template.functions().items()}
    expected = {name: {"Fn::Sub": "${AWS::StackName}-${AWS::Region}-" + name} for name in named}
    return [name for name in named if named[name] != expected[name]]


def wildcards(template: Template) -> list[str]:
    """Find rights to every action of a service, or on every resource where the service has resources."""
    found = []
    for name, role in template.properties("AWS::IAM::Role").items():
        for statement in policies.of_role(template, role):
            found += [f"{name}: {action}" for action in statement.actions if "*" in action]
            bare = [action for action in statement.actions if not action.startswith(WITHOUT_RESOURCE)]
            if '"*"' in statement.resources and bare:
                found.append(f"{name}: {', '.join(bare)} on *")
    return found


def foreign_policies(template: Template) -> list[str]:
    """Find policies of AWS's own, or of others, on a role: what they allow stands elsewhere, and changes."""
    return [
        name
        for name, role in template.properties("AWS::IAM::Role").items()
        if any("Ref" not in attached for attached in role.get("ManagedPolicyArns", []))
    ]


def rights_of_others(template: Template) -> list[str]:
    """Find a right in another function's hands."""
    return [
        f"{', '.join(actions)}: {', '.join(sorted(may)) or 'nobody'}"
        for actions, owners in BELONGS.items()
        if (may := policies.who_may(template, *actions)) != owners
    ]


def escrow(template: Template) -> list[str]:
    """Find somebody but `reset` who may read or delete in the escrow; `begin` may list keys."""
    found = []
    for name, allowed in policies.of_functions(template).items():
        for statement in allowed:
            reads = set(ESCROW_READS) & set(statement.actions)
            if name == "reset" or not reads or not statement.about("EscrowTable"):
                continue
            attributes = statement.condition.get("ForAllValues:StringEquals", {}).get("dynamodb:Attributes")
            listing = name == "begin" and reads == {"dynamodb:Query"} and attributes == ["pk", "sk", "deleted"]
            if not listing or statement.condition.get("Null") != {"dynamodb:Attributes": "false"}:
                found.append(f"{name} may {', '.join(sorted(reads))} in the escrow")
    if "reset" not in policies.who_may(template, *ESCROW_READS, about="EscrowTable"):
        found.append("reset may not read the escrow")
    return found


def undenied_escrow(template: Template) -> list[str]:
    """Find a read or delete in the escrow that the table itself does not deny to all others."""
    table = template.properties("AWS::DynamoDB::Table")["EscrowTable"]
    denials = policies.statements(table.get("ResourcePolicy", {}).get("PolicyDocument", {"Statement": []}))
    denied = {
        action
        for statement in denials
        if statement.effect == "Deny" and statement.principal == "*" and list(statement.condition) == ["ArnNotEquals"]
        for action in statement.actions
    }
    return [action for action in ESCROW_READS if action not in denied]


def deletes(template: Template) -> list[str]:
    """Find a right to delete anything but the escrow's items and marks of what is open in the ledger."""
    found = []
    for name, allowed in policies.of_functions(template).items():
        for statement in allowed:
            removing = DELETES & set(statement.actions)
            if not removing or (name == "reset" and statement.about("EscrowTable")):
                continue
            keys = statement.condition.get("ForAllValues:StringEquals", {}).get("dynamodb:LeadingKeys")
            if not statement.about("LedgerTable") or keys != ["open"]:
                found.append(f"{name} may {', '.join(sorted(removing))}")
    return found


def webhook(template: Template) -> list[str]:
    """Find anything that the public function may do but read its sources' keys and put events that ask."""
    found = []
    for statement in policies.of_functions(template)["webhook"]:
        match statement.actions:
            case ("events:PutEvents",):
                good = statement.condition.get("ForAllValues:StringLike") == {"events:source": ["rekey.in/*"]}
            case ("secretsmanager:GetSecretValue",):
                good = all(":secret:rekey/webhook-*" in resource for resource in statement.resources)
            case actions:
                good = all(action.startswith(WITHOUT_RESOURCE) for action in actions)
        if not good:
            found.append(f"{', '.join(statement.actions)} on {', '.join(statement.resources)}")
    return found


def secrets(template: Template) -> list[str]:
    """Find secrets that a function may read and does not need, or may write outside the store's prefix."""
    store, own, vault = "${StoreSecretPrefix}*", ":secret:rekey/*", ":secret:rekey/vault-*"
    readers = {"begin": {store, vault}, "verify": {store, own}, "reset": {store, own}, "distribute": {store, own}}
    found = []
    for name, allowed in policies.of_functions(template).items():
        for statement in allowed:
            if name == "webhook" or not any(action.startswith("secretsmanager:") for action in statement.actions):
                continue
            known = readers.get(name, set())
            if not all(any(resource.endswith(f'{end}"}}') for end in known) for resource in statement.resources):
                found.append(f"{name}: {', '.join(statement.actions)} on {', '.join(statement.resources)}")
            reads = statement.actions == ("secretsmanager:GetSecretValue",)
            if not reads and ":secret:rekey/" in "".join(statement.resources):
                found.append(f"{name} may do more than read Rekey's own credentials")
    return found
