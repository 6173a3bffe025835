"""Makes moto's DynamoDB atomic, and lets it keep the tokens of transactions.

Moto answers each request in a thread of its own and locks nothing: two compare-and-set writes can both win, and a
transaction that fails puts back a copy of the table that lacks what others wrote meanwhile.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.dynamodb import models
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moto.core.common_types import TYPE_RESPONSE

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html, ClientRequestToken
TOKEN_LIFETIME = 600.0


class _Tokens:
    """What was asked under which token, for ten minutes."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kept: dict[str, tuple[float, str]] = {}

    def seen(self, token: str, items: object) -> bool:
        """Return whether this very transaction was carried out under this token.

        Raises IdempotentParameterMismatchException if it was another one.
        """
        kept_at, kept = self._kept.get(token, (-TOKEN_LIFETIME, ""))
        if self._now() - kept_at >= TOKEN_LIFETIME:
            return False
        if kept != _canonical(items):
            message = "The transaction with this ClientRequestToken had other parameters"
            raise JsonRESTError("IdempotentParameterMismatchException", message)
        return True

    def keep(self, token: str, items: object) -> None:
        """Remember a transaction that was carried out."""
        self._kept[token] = (self._now(), _canonical(items))


class _Copies:
    """Stands for the module `copy` in moto's transactions, which copy a whole table to put it back if they fail.

    Where all writes replace items and none changes one (`update`), what is put back may share the items. Then a
    transaction takes the same time in a full table as in an empty one.
    """

    def __init__(self) -> None:
        self.update = True

    def deepcopy(self, original: object) -> object:
        """Return a copy that a failed transaction puts back."""
        if self.update or not isinstance(original, Table) or original.stream_shard is not None:
            return copy.deepcopy(original)
        twin = copy.copy(original)
        twin.items = copy.copy(original.items)
        for key, items in twin.items.items():
            if isinstance(items, dict):  # by the second part of the key
                twin.items[key] = copy.copy(items)
        return twin


@contextmanager
def atomic_dynamodb(now: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Let moto's DynamoDB do one operation at a time, and a transaction once for each token, within the context.

    `now` gives seconds of a clock that only moves forward.
    """
    lock = threading.Lock()
    tokens, copies = _Tokens(now), _Copies()
    call_action: Callable[[DynamoHandler], TYPE_RESPONSE] = DynamoHandler.call_action
    transact_write_items: Callable[[DynamoHandler], ActionResult] = DynamoHandler.transact_write_items

    def one_at_a_time(handler: DynamoHandler) -> TYPE_RESPONSE:
        with lock:
            return call_action(handler)

    def once_for_each_token(handler: DynamoHandler) -> ActionResult:
        token, items = handler.body.get("ClientRequestToken"), handler.body["TransactItems"]
        copies.update = any("Update" in item for item in items)
        if token is None:
            return transact_write_items(handler)
        if tokens.seen(token, items):
            return ActionResult({"ConsumedCapacity": [], "ItemCollectionMetrics": {}})
        result = transact_write_items(handler)
        tokens.keep(token, items)
        return result

    with (
        mock.patch.object(DynamoHandler, "call_action", one_at_a_time),
        mock.patch.object(DynamoHandler, "transact_write_items", once_for_each_token),
        mock.patch.object(models, "copy", copies),
    ):
        yield


def _canonical(items: object) -> str:
    return json.dumps(items, sort_keys=True, default=repr)
