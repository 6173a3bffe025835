"""What must hold for tables, bucket and keys. Each check returns what is wrong, one sentence a finding."""

from collections.abc import Iterator

from tests.structure import policies
from tests.structure.template import Template, references

CONTEXT = {f"kms:EncryptionContext:{part}": "false" for part in ("registry", "generation", "attempt")}


def backups(template: Template) -> list[str]:
    """Find a ledger that cannot be restored, or an escrow that could be."""
    tables = template.properties("AWS::DynamoDB::Table")
    recovers = {
        name: body.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled", False)
        for name, body in tables.items()
    }
    found = [] if recovers == {"LedgerTable": True, "EscrowTable": False} else [f"point-in-time recovery: {recovers}"]
    return found + [f"{name} has a stream" for name, body in tables.items() if "StreamSpecification" in body]


def keys(template: Template) -> list[str]:
    """Find a key that is used for, or by, something else than it is there for."""
    data = {"Fn::GetAtt": ["DataKey", "Arn"]}
    used: dict[str, object] = {
        name: body.get("SSESpecification", {}).get("KMSMasterKeyId")
        for name, body in template.properties("AWS::DynamoDB::Table").items()
    }
    used |= {name: body.get("KmsMasterKeyId") for name, body in template.properties("AWS::SQS::Queue").items()}
    rules = template.properties("AWS::S3::Bucket")["Bucket"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    used["Bucket"] = rules[0]["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
    found = [f"{name} is not under the data key" for name, key in used.items() if key != data]
    signing = template.properties("AWS::KMS::Key")["SigningKey"]
    if signing.get("KeyUsage") != "SIGN_VERIFY":
        found.append("the signing key does not sign")
    for statement in _key_policy(template, "EscrowKey"):
        crypts = {"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"} & set(statement.actions)
        if crypts and statement.condition.get("Null") != CONTEXT:
            found.append("the escrow key works without its encryption context")
        if "kms:Decrypt" in crypts and not _only(statement, "reset"):
            found.append("the escrow key decrypts for others than reset")
    for statement in _key_policy(template, "SigningKey"):
        digest = statement.condition.get("StringEquals", {}).get("kms:MessageType") == "DIGEST"
        if "kms:Sign" in statement.actions and not (digest and _only(statement, "report")):
            found.append("the signing key signs more than digests of report")
    return found


def key_policies_that_name_roles(template: Template) -> list[str]:
    """Find key policies that name a role's resource: the role's policy names the key."""
    roles = template.resources("AWS::IAM::Role").keys()
    return [name for name, body in template.properties("AWS::KMS::Key").items() if set(references(body)) & roles]


def records(template: Template) -> list[str]:
    """Find a table or bucket that a deleted stack would take with it, or that more than Rekey's account can read."""
    kept = ["LedgerTable", "EscrowTable", "Bucket", "EscrowKey", "DataKey", "SigningKey"]
    found = [
        f"{name} does not outlive the stack"
        for name in kept
        if {template.body["Resources"][name].get(field) for field in ("DeletionPolicy", "UpdateReplacePolicy")}
        != {"Retain"}
    ]
    bucket = template.properties("AWS::S3::Bucket")["Bucket"]
    if bucket.get("VersioningConfiguration") != {"Status": "Enabled"}:
        found.append("the bucket is not versioned")
    blocked = bucket.get("PublicAccessBlockConfiguration", {})
    if len(blocked) != 4 or not all(blocked.values()):
        found.append("the bucket may become public")
    denied = [
        one
        for body in template.properties("AWS::S3::BucketPolicy").values()
        for one in policies.statements(body["PolicyDocument"])
    ]
    tls = [one for one in denied if one.condition.get("Bool") == {"aws:SecureTransport": "false"}]
    if not any(one.effect == "Deny" and one.actions == ("s3:*",) and len(one.resources) == 2 for one in tls):
        found.append("the bucket may be used without TLS")
    return found


def _key_policy(template: Template, key: str) -> Iterator[policies.Statement]:
    return policies.statements(template.properties("AWS::KMS::Key")[key]["KeyPolicy"])


def _only(statement: policies.Statement, function: str) -> bool:
    principal = statement.condition.get("ArnEquals", {}).get("aws:PrincipalArn", {})
    return isinstance(principal, dict) and principal.get("Fn::Sub", "").endswith(f"-{function}")
