"""A small stack of its own, with which the sandbox is tested without the product."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.sandbox.aws_intrinsics import Json

Definition: TypeAlias = "dict[str, Json]"

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Timeout: {Type: Number, Default: 20, MinValue: 1}
  Level: {Type: String, Default: calm, AllowedValues: [calm, loud]}
  Hooks: {Type: String, Default: ""}
Mappings:
  Sizes: {calm: {Memory: 256}, loud: {Memory: 512}}
Conditions:
  HasHooks: !Not [!Equals [!Ref Hooks, ""]]
  Both: !And [!Condition HasHooks, !Equals [!Ref Level, loud]]
Globals:
  Function:
    Runtime: python3.13
    Handler: app.handler
    Timeout: !Ref Timeout
    MemorySize: !FindInMap [Sizes, !Ref Level, Memory]
    Layers: [!Ref Layer]
    Environment:
      Variables:
        TABLE: !Ref Table
        KEY: !GetAtt Key.Arn
        QUEUE: !Ref Failures
        BOTH: !If [Both, "yes", "no"]
        LEFT_OUT: !If [Both, "here", !Ref AWS::NoValue]
        JOINED: !Join ["-", [!Ref AWS::StackName, !Select [1, !Split [",", "a,b"]]]]
        SUBSTITUTED: !Sub ["${AWS::Region}/${Own}/${Bucket.Arn}/${!Kept}", {Own: !Ref Level}]
Resources:
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub ${AWS::StackName}-worker
      CodeUri: worker
      EventInvokeConfig:
        MaximumRetryAttempts: 2
        DestinationConfig:
          OnFailure: {Type: SQS, Destination: !GetAtt Failures.Arn}
      Events:
        Asked:
          Type: EventBridgeRule
          Properties:
            EventBusName: !Ref Bus
            Pattern:
              source: [{prefix: in/}]
              detail: {kind: [{anything-but: [ignored]}]}
            DeadLetterConfig: {Arn: !GetAtt Undelivered.Arn}
        Tick:
          Type: ScheduleV2
          Properties: {ScheduleExpression: rate(1 minute), Input: '{"call": "tick"}'}
        Hook:
          Type: HttpApi
          Properties: {Path: "/hooks/{source}", Method: POST}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      Name: !Sub ${AWS::StackName}-machine
      Role: !GetAtt MachineRole.Arn
      DefinitionUri: machine.asl.json
      DefinitionSubstitutions: {Worker: !GetAtt Worker.Arn, Timeout: !Ref Timeout}
  MachineRole:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {}}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
  Bucket:
    Type: AWS::S3::Bucket
    Properties: {VersioningConfiguration: {Status: Enabled}}
  Key:
    Type: AWS::KMS::Key
    Properties: {KeyPolicy: {}}
  Topic: {Type: AWS::SNS::Topic}
  Failures: {Type: AWS::SQS::Queue}
  Undelivered: {Type: AWS::SQS::Queue}
  Heard: {Type: AWS::SQS::Queue}
  Bus:
    Type: AWS::Events::EventBus
    Properties: {Name: !Ref AWS::StackName}
  Listening:
    Type: AWS::Events::Rule
    Condition: HasHooks
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {source: [{exists: true}]}
      Targets: [{Id: heard, Arn: !GetAtt Heard.Arn}]
Outputs:
  Worker: {Value: !GetAtt Worker.Arn}
  Hooks: {Condition: HasHooks, Value: !Ref Hooks}
"""

HANDLER = """
import os, signal, sys, threading, time
import words

def handler(event, context):
    print("got", sorted(event))
    do = event.get("do")
    if do == "sleep":
        time.sleep(event["seconds"])
    if do == "fail":
        raise LookupError("as told")
    if do == "exit":
        os._exit(3)
    if do == "put":
        import boto3
        item = {"pk": {"S": event["key"]}}
        boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item=item)
    if do == "tick-on":
        def tick():
            while True:
                with open(event["file"], "a") as file:
                    file.write(".")
                time.sleep(0.01)
        threading.Thread(target=tick, daemon=True).start()
    return {"pid": os.getpid(), "word": words.WORD, "event": event, "environment": dict(os.environ),
            "left_ms": context.get_remaining_time_in_millis()}
"""

CALL_WORKER = """{
  "StartAt": "Work",
  "States": {
    "Work": {
      "Type": "Task",
      "Resource": "arn:aws:states:::lambda:invoke",
      "Parameters": {"FunctionName": "${Worker}", "Payload.$": "$"},
      "ResultSelector": {"event.$": "$.Payload.event"},
      "TimeoutSeconds": ${Timeout},
      "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}],
      "End": true
    },
    "Failed": {"Type": "Fail", "Error": "Failed", "Cause": "the worker failed"}
  }
}
"""


def write_stack(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write the stack (with some `files` replaced) into a folder, and return the path of its template."""
    contents = {
        "template.yaml": TEMPLATE,
        "machine.asl.json": CALL_WORKER,
        "worker/app.py": HANDLER,
        "layer/words.py": 'WORD = "from the layer"\n',
        **(files or {}),
    }
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder / "template.yaml"


def definition(start: str, states: Mapping[str, Json]) -> str:
    """Return the text of a state machine's definition."""
    return json.dumps({"StartAt": start, "States": dict(states)})
