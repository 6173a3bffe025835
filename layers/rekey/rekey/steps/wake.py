"""Once a day every function is called: one that is idle for weeks becomes inactive, and its next call can be refused.

https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html
"""

import json
from datetime import datetime
from typing import TYPE_CHECKING

from rekey import aws
from rekey.errors import RekeyError
from rekey.observability import logger
from rekey.records.dynamo import ConditionFailed, Write
from rekey.steps.bench import Bench

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

FUNCTIONS = ("begin", "distribute", "notify", "report", "reset", "trigger", "verify")
"""Whatever a rotation needs. The webhook wakes with its first alert, and API Gateway calls it again."""
_KEY = {"pk": "tick", "sk": "wake"}


def wake_daily(bench: Bench, now: datetime) -> bool:
    """Call every function, if no tick of this day has. A call that fails is logged: nothing depends on it."""
    day = now.date().isoformat()
    try:
        bench.ledger.table.write(
            Write(
                key=_KEY,
                item={"format": 1, "day": day},
                condition="attribute_not_exists(pk) OR #day <> :day",
                names={"#day": "day"},
                values={":day": day},
            )
        )
    except ConditionFailed:
        return False
    client: LambdaClient = aws.client("lambda")
    for name in FUNCTIONS:
        try:
            with aws.answering(f"the function {name}"):
                client.invoke(
                    FunctionName=f"{bench.settings.stack}-{name}",
                    InvocationType="Event",
                    Payload=json.dumps({"call": "ping"}),
                )
        except RekeyError as error:
            logger.warning("a function could not be called", extra={"function": name, "why": str(error)})
    return True
