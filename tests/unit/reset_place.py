"""A registry with a small API in a stack, and one begun rotation of it: for the tests of reset and verify."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from rekey import http, runtime
from rekey.model.password import Password
from rekey.model.request import Reason, Request
from rekey.model.state import Operation, State
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from rekey.records import pasting
from rekey.runtime import Call
from rekey.steps import begin, distribute, reset, verify
from rekey.steps.bench import Bench
from tests.sandbox import aws_faults
from tests.sandbox.company_store import is_unproven
from tests.sandbox.wire import Response
from tests.unit.registry_api import Passwords, SmallApi
from tests.unit.scripted_registry import API, BASIC, Scripted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rekey.model.rotation import Lease, Rotation
    from tests.sandbox.wire import Request as Wire
    from tests.unit.bare_stack import BareStack

FUNCTION = timedelta(seconds=40)
"""What the function has: a call of 1 s, its escrow write and a margin fit into it."""
NOTHING = timedelta(0)
PUT_EVENTS = "events:PutEvents"


class Place:
    """A registry with its API, in a stack: one rotation of it has begun. `settings` are those of its functions."""

    def __init__(
        self,
        opened: BareStack,
        reason: Reason = Reason.COMPROMISED,
        settings: Mapping[str, timedelta] | None = None,
        **plan: object,
    ) -> None:
        self.opened = opened
        self.name = opened.new_registry()
        self.first = secrets.token_urlsafe(12)
        self.passwords = Passwords({self.name: self.first})
        self.also: list[str] = []
        """Passwords that the registry lets in beside the right one."""
        self.shown: list[tuple[datetime, bool]] = []
        """When somebody showed the registry a password, and whether it was let in."""
        self.api = SmallApi(self.name, self.passwords)
        self.registry = Scripted(self._answer)
        durations: dict[str, Any] = {"prove_within": NOTHING, "refusal_pause": NOTHING, **(settings or {})}
        self.bench = Bench(replace(opened.bench.settings, **durations))
        self._reason = reason
        self._plan = plan

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.registry.__enter__()
        client: Any = self.opened.aws.client("secretsmanager")
        credential = {"registries": [self.name], "hosts": ["*"], **self._credential()}
        client.create_secret(Name=f"rekey/{self.name}", SecretString=json.dumps(credential))
        self.opened.push(self.name, registry=self._registry())
        stored = {"username": self.name, "password": self.first}
        client.put_secret_value(SecretId=f"registries/{self.name}", SecretString=json.dumps(stored))
        self.opened.ask(self.name, reason=self._reason)
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.aws.faults.clear()
        self.registry.__exit__(None, None, None)
        self.api.__exit__(None, None, None)

    def _credential(self) -> dict[str, str]:
        return {"token": self.api.key}

    def _registry(self) -> dict[str, object]:
        call = {
            "method": "POST",
            "path": f"/users/{self.name}/rotate",
            "password_at": "/result/0/secret",
            "timeout": "1s",
            "settle": "0s",
        }
        api = {"url": self.api.url, "login": {"secret": f"rekey/{self.name}"}, "health": "/status", "reset": call}
        part = {"name": self.name, "type": "http", "endpoint": self.registry.url, "username": self.name, "api": api}
        return {**part, **self._plan}

    def _answer(self, request: Wire) -> Response:
        shown = request.headers.get("authorization")
        if shown is None:
            return Response.json({}, 401, {**API, **BASIC})
        right = [http.basic(self.name, Password(known)) for known in (self.passwords.known[self.name], *self.also)]
        self.shown.append((runtime.now(), shown in right))
        return Response.json({}, 200, API) if shown in right else Response.json({}, 401, {**API, **BASIC})

    def begin(self) -> None:
        """Begin an execution; the last one has handed its lease back."""
        machine = self.opened.environment["REKEY_STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        self.owner = f"{machine}:{self.name}-{secrets.token_hex(2)}"
        fresh = State(format=1, operation=Operation.ROTATE, registry=self.name, start=1)
        self.state = begin.run(self.bench, self._call(fresh, FUNCTION))
        self._ready_consumers()

    def _ready_consumers(self) -> None:
        """Say what preparing the consumers would have: that nothing stands in the way."""
        rotation = self.bench.ledger.latest(self.name)
        if rotation is not None and rotation.shards:
            folder = self.bench.folder(self.name, rotation.generation)
            for shard in folder.shards(rotation.shards):
                folder.save_shard(replace(shard, prepared=True))

    def hand_back(self) -> None:
        """End the execution."""
        _, write = self.bench.leases.hand_back_write(self.lease.fence(self.name), runtime.now(), may_linger=False)
        self.bench.ledger.table.write(write)

    def reset(self, seconds: timedelta = FUNCTION, *, repeated: bool = False) -> State:
        """Call the function once."""
        return reset.run(self.bench, self._call(self.state, seconds, repeated=repeated))

    def verify(self, *, repeated: bool = False) -> State:
        """Call the function that verifies once."""
        return verify.run(self.bench, self._call(self.state, FUNCTION, repeated=repeated))

    def try_before_delivery(self, *, repeated: bool = False) -> State:
        """Call the function that verifies once, as the machine does before a password is delivered again."""
        return verify.run(self.bench, replace(self._call(self.state, FUNCTION, repeated=repeated), verb=verify.TRY))

    def prepare(self, *, repeated: bool = False) -> None:
        """Call the function that prepares the consumers of the first shard once."""
        call = self._call(self.state.model_copy(update={"shard": 0}), FUNCTION, repeated=repeated)
        distribute.run(self.bench, replace(call, verb="prepare"))

    def _call(self, state: State, seconds: timedelta, *, repeated: bool = False) -> Call:
        return Call("reset", self.owner, 0, repeated=repeated, state=state, deadline=runtime.now() + seconds)

    @property
    def call(self) -> Call:
        """A call of the function, as the state machine makes it."""
        return self._call(self.state, FUNCTION)

    def paste(self, password: str, clicked_at: datetime | None = None) -> None:
        """Do what a person does who has reset the password by hand."""
        ledger, escrow = self.bench.ledger, self.bench.escrow
        pasting.paste(ledger, escrow, self.name, Password(password), now=runtime.now(), clicked_at=clicked_at)

    def tell(self, outcome: ConsumerOutcome = ConsumerOutcome.UPDATED) -> None:
        """Write what came of telling the one consumer of the first rotation."""
        receipt = Receipt("deploy-bot", "webhook", outcome, ConsumerVerdict.WRITTEN, answered_at=runtime.now())
        self.bench.ledger.save_receipts(self.lease.fence(self.name), 1, 0, [receipt])

    def leak(self) -> Request:
        """Put a second leak beside what is open, and return it."""
        now = runtime.now()
        leak = Request(registry=self.name, key="leak-2", reason=Reason.COMPROMISED, source="siem", arrived_at=now)
        self.bench.ledger.put_request(leak)
        return leak

    def write(self, **changes: object) -> None:
        """Write changes of the rotation, as its owner."""
        self.bench.ledger.save_one(self.lease.fence(self.name), self.rotation.having(**changes))

    @property
    def rotation(self) -> Rotation:
        """The rotation as it is now."""
        rotation = self.bench.ledger.latest(self.name)
        assert rotation is not None
        return rotation

    @property
    def lease(self) -> Lease:
        """The registry's lease as it is now."""
        lease = self.bench.leases.current(self.name)
        assert lease is not None
        return lease

    @property
    def stored(self) -> str:
        """What readers of the store see."""
        client: Any = self.opened.aws.client("secretsmanager")
        text = client.get_secret_value(SecretId=f"registries/{self.name}", VersionStage="AWSCURRENT")["SecretString"]
        return str(json.loads(text)["password"])

    @property
    def warned(self) -> bool:
        """Whether readers of the store are told that nobody has tried what they see."""
        return is_unproven(self.opened.aws.client("secretsmanager"), f"registries/{self.name}")

    @property
    def refused(self) -> int:
        """How many wrong logins the registry saw."""
        return sum(not let_in for _, let_in in self.shown)

    def asked_for(self) -> list[str]:
        """Return what was said in the events that ask for a person."""
        events = self.opened.events(self.name)
        return [event["Detail"]["why"] for event in events if event["DetailType"] == "Attention Needed"]

    def when_told(self) -> list[Rotation]:
        """Return a list that gets the rotation as it is written down whenever something is told from now on."""
        found: list[Rotation] = []
        note = aws_faults.call_before(lambda _: found.append(self.rotation))
        self.opened.aws.faults.add(PUT_EVENTS, note, times=None)
        return found
