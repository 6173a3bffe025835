"""Trigger: turn an event or a tick into a durable request, and start an execution where one is due.

A request is an item first and an execution second: a start that fails leaves it open, and the tick comes back for it.
"""

import hashlib
import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import TypeAdapter, ValidationError

from rekey import aws, runtime
from rekey.bus import ASKING, PASTED, PASTED_SOURCE, Told
from rekey.errors import Conflict, InputInvalid, PlanInvalid, PlanMissing, RekeyError
from rekey.model.moment import parse
from rekey.model.names import RegistryName
from rekey.model.plan import Plan
from rekey.model.request import Reason, Request, RequestState, request_key
from rekey.model.rotation import AttemptKind, Phase, Rotation
from rekey.observability import logger
from rekey.records.starts import Starts
from rekey.runtime import Event
from rekey.steps.bench import Bench, execution_is_alive
from rekey.steps.wake import wake_daily

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

SOURCE_PREFIX = "rekey.in/"
_LONGEST_TEXT = 256
_TURNS = 20
"""Names that one tick passes over, or times that others are faster: then the next tick goes on from there."""
_REMIND = timedelta(days=1)
"""A person who has not come is told again."""
_name = TypeAdapter(RegistryName)


def run(bench: Bench, event: Event, _deadline: datetime) -> Event:
    """Serve one event of the bus, or one tick. Raises what the records raise: Lambda then tries the event again."""
    now = runtime.now()
    if event.get("call") == "tick":
        started = sweep(bench, now)
        wake_daily(bench, now)
        return {"started": started}
    if event.get("source") == PASTED_SOURCE and event.get("detail-type") == PASTED:
        registry = _registry_of(_detail(event))
        return {"started": [registry] if start(bench, registry) else []}
    return accept(bench, event, now)


def accept(bench: Bench, event: Event, now: datetime) -> Event:
    """Write the request that an event makes, or find it there, and start what is due.

    An event that breaks the rules changes nothing and is not tried again: it is told and logged, with what is wrong.
    """
    try:
        request = read_request(event, now)
        check_accepted(_plan(bench, request.registry), request)
    except (InputInvalid, PlanMissing, PlanInvalid) as error:
        logger.warning("request refused", extra={"why": str(error)})
        registry = _known_name(event)
        bench.bus.tell(Told.REQUEST_REFUSED, registry, why=str(error))
        return {"refused": str(error)}
    there, new = bench.ledger.put_request(request)
    told = Told.REQUEST_ACCEPTED if new else Told.REQUEST_JOINED
    bench.bus.tell(told, there.registry, request=there.key, reason=there.reason.value, source=there.source)
    is_open = there.state is RequestState.OPEN
    waiting = _needing_attention(bench, there.registry) if is_open and there.reason is Reason.COMPROMISED else None
    if waiting is not None and (waiting.paged_at is None or waiting.paged_at < there.arrived_at):
        _page(bench, waiting, now)  # asked of the records, not of `new`: Lambda tries an event again
    started = is_open and start(bench, there.registry)
    return {"request": there.key, "started": [there.registry] if started else []}


def _plan(bench: Bench, registry: str) -> Plan:
    """Return the plan that says whose alerts are taken: where the one pushed is broken, the one that was used last."""
    try:
        return bench.plans.pushed(registry)[0]
    except PlanInvalid:
        latest = bench.ledger.latest(registry)
        if latest is None or not latest.shards:
            raise
        return bench.folder(registry, latest.generation).plan()


def check_accepted(plan: Plan, request: Request) -> None:
    """Raise InputInvalid unless the plan takes requests with this reason from this source."""
    if request.reason not in plan.accepts.get(request.source, ()):
        raise InputInvalid(
            f"the plan of {request.registry} accepts no request with reason {request.reason.value} "
            f"from source {request.source}: its `accepts` would have to say so"
        )


def read_request(event: Event, now: datetime) -> Request:
    """Return the request that an event makes. Only the fields of the schema are looked at.

    Raises InputInvalid, naming the field.
    """
    source = str(event.get("source"))
    if not source.startswith(SOURCE_PREFIX) or event.get("detail-type") != ASKING:
        raise InputInvalid(f"an event asks with source `{SOURCE_PREFIX}<source>` and detail-type `{ASKING}`")
    detail = _detail(event)
    registry = _registry_of(detail)
    try:
        reason = Reason(str(detail.get("reason")))
    except ValueError:
        raise InputInvalid(f"`reason` must be one of {', '.join(Reason)}") from None
    leak = detail.get("leak")
    if leak is not None and not (isinstance(leak, str) and 0 < len(leak) <= _LONGEST_TEXT):
        raise InputInvalid(f"`leak` must be a text of 1 to {_LONGEST_TEXT} characters that names the leak")
    return Request(
        registry=registry,
        key=request_key(registry, leak, str(event.get("id"))),
        reason=reason,
        source=source.removeprefix(SOURCE_PREFIX),
        arrived_at=now,
        exposed_at=_moment(detail, "exposed_at"),
        detected_at=_moment(detail, "detected_at"),
    )


def _detail(event: Event) -> dict[str, object]:
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise InputInvalid("the event has no `detail`")
    return detail


def _registry_of(detail: dict[str, object]) -> str:
    try:
        return _name.validate_python(detail.get("registry"))
    except ValidationError:
        raise InputInvalid("`registry` must be the name of a registry that has a plan") from None


def _known_name(event: Event) -> str:
    """Return the registry an event names, if it can be a name at all: nothing else of a refused event is told."""
    detail = event.get("detail")
    try:
        return _registry_of(detail) if isinstance(detail, dict) else ""
    except InputInvalid:
        return ""


def _moment(detail: dict[str, object], field: str) -> datetime | None:
    value = detail.get(field)
    if value is None:
        return None
    try:
        return parse(str(value))
    except ValueError:
        raise InputInvalid(f"`{field}` must be a time with its zone, such as 2026-01-31T02:00:00Z") from None


def sweep(bench: Bench, now: datetime) -> list[str]:
    """Start whatever is open and due; return the registries.

    One registry that cannot be looked at stops no other. Raises the first failure afterwards: an alarm counts those.
    """
    started: list[str] = []
    failures: list[RekeyError] = []
    for registry in bench.ledger.open_registries():
        try:
            _remind(bench, registry, now)
            if _due(bench, registry, now) and start(bench, registry):
                started.append(registry)
        except RekeyError as error:
            logger.error("a registry could not be looked at", extra={"registry": registry, "why": str(error)})
            failures.append(error)
    if failures:
        raise failures[0]
    return started


def _remind(bench: Bench, registry: str, now: datetime) -> None:
    """Page a person once a day while a rotation needs attention; and who is to click, where the bus did not take it."""
    rotation = bench.ledger.latest(registry)
    if rotation is None:
        return
    waits = rotation.phase is Phase.NEEDS_ATTENTION
    if rotation.paged_at is None:
        if waits or rotation.phase is Phase.READY:
            _page(bench, rotation, now)
    elif waits and now - rotation.paged_at >= _REMIND:
        _page(bench, rotation, now)


def _needing_attention(bench: Bench, registry: str) -> Rotation | None:
    rotation = bench.ledger.latest(registry)
    return rotation if rotation is not None and rotation.phase is Phase.NEEDS_ATTENTION else None


def _page(bench: Bench, rotation: Rotation, now: datetime) -> None:
    """Tell once more what a rotation needs a person for. Written after it was told: never lost, perhaps told twice."""
    click = f"ready: reset the password in the registry's console, then `rekey paste {rotation.registry}`"
    why = "; ".join(rotation.problems) or click
    if bench.bus.tell(Told.ATTENTION_NEEDED, rotation.registry, rotation=rotation.id, why=why):
        with suppress(Conflict):  # whoever wrote at this moment knows of it
            bench.ledger.note(rotation, rotation.having(paged_at=now))


def _due(bench: Bench, registry: str, now: datetime) -> bool:
    again = bench.ledger.again(registry)
    if again is not None and now < again.at:
        return False
    rotation = bench.ledger.latest(registry)
    if rotation is None or not rotation.phase.open:
        return True
    if rotation.phase is Phase.NEEDS_ATTENTION:
        return _has_paste(bench, rotation)
    if rotation.phase is Phase.READY:
        over = rotation.ready_until is not None and now >= rotation.ready_until
        return over or _has_paste(bench, rotation)
    return True


def _has_paste(bench: Bench, rotation: Rotation) -> bool:
    attempts = bench.ledger.attempts_of(rotation)
    return bool(attempts) and attempts[-1].kind is AttemptKind.PASTED and attempts[-1].outcome is None


def start(bench: Bench, registry: str) -> bool:
    """Start an execution unless a living one owns the registry, or the last one started still runs.

    Of two callers at once one starts it, and the other finds it.
    """
    lease = bench.leases.current(registry)
    if lease is not None and lease.owner is not None and execution_is_alive(lease.owner):
        return False
    starts = Starts(bench.ledger.table)
    for _ in range(_TURNS):
        last = starts.last(registry)
        status = _status(bench, registry, last) if last else "ENDED"
        if status == "RUNNING":
            return False
        if status == "NEVER" and not _was_at_work(bench, registry, last):
            _start(bench, registry, last)  # counted, and then the trigger that counted it died
            return True
        # Its name may be taken: of an execution that a ledger restored from a backup has forgotten.
        if starts.advance(registry, last) and _start(bench, registry, last + 1):
            return True
    return False  # others keep starting it


def _was_at_work(bench: Bench, registry: str, number: int) -> bool:
    """Whether an execution has left traces in the records: it was deleted since, or AWS forgot it after 90 days.

    Its name is not used again. A new one of that name would take what the old one left for its own.
    """
    arn = _arn(bench, registry, number)
    lease, latest = bench.leases.current(registry), bench.ledger.latest(registry)
    return arn in (lease and lease.owner, latest and latest.execution)


def execution_name(registry: str, number: int) -> str:
    """Return an execution's name: Step Functions keeps it taken for 90 days, and ends it at 80 characters."""
    return f"{hashlib.sha256(registry.encode()).hexdigest()[:8]}-{number}"


def _start(bench: Bench, registry: str, number: int) -> bool:
    """Start the execution of this number; return whether there was none of its name."""
    client: SFNClient = aws.client("stepfunctions")
    document = {"format": 1, "operation": "rotate", "registry": registry, "start": number}
    with aws.answering("the state machine"):
        try:
            client.start_execution(
                stateMachineArn=bench.settings.state_machine_arn,
                name=execution_name(registry, number),
                input=json.dumps(document, sort_keys=True, separators=(",", ":")),
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ExecutionAlreadyExists":
                raise
            return False
    logger.info("started", extra={"registry": registry, "start": number})
    return True


def _arn(bench: Bench, registry: str, number: int) -> str:
    machine = bench.settings.state_machine_arn.replace(":stateMachine:", ":execution:")
    return f"{machine}:{execution_name(registry, number)}"


def _status(bench: Bench, registry: str, number: int) -> str:
    client: SFNClient = aws.client("stepfunctions")
    with aws.answering("the state machine"):
        try:
            status = client.describe_execution(executionArn=_arn(bench, registry, number))["status"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ExecutionDoesNotExist":
                raise
            return "NEVER"
    return "RUNNING" if status in ("RUNNING", "PENDING_REDRIVE") else "ENDED"
