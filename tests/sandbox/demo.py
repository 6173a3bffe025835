"""A whole rotation on this machine, to look at: `make demo`, or `python -m tests.sandbox.demo`.

Exit status: 0 where everything is as the last table says, 1 where something is not, 2 for arguments that cannot be,
130 after Ctrl-C; make turns every failure into a 2 of its own. What the table says is not taken from the evidence
alone: demo_checks looks for itself.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from botocore.exceptions import ClientError

from rekey.model.state import Outcome
from tests.sandbox import demo_checks
from tests.sandbox.company_store import StoreKind
from tests.sandbox.demo_faults import UnknownConsumerError, refuse_writes
from tests.sandbox.demo_places import places
from tests.sandbox.demo_talk import PasteError, Talk
from tests.sandbox.demo_view import View
from tests.sandbox.demo_watch import Watch
from tests.sandbox.lambdas import HostSettings
from tests.sandbox.world import World
from tests.servers import table
from tests.servers.table import ServerMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from tests.sandbox.company import Company

NAME, ORG = "prod-images", "acme"
_SHARDS = 3  # so many run at once
_POLL = 0.05  # seconds
_WITHIN = 180.0  # seconds that a rotation may take; a person who is to click gets all the time there is
_WRITTEN = ("evidence.json", "report.html")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OK, _NOT_SO, _USAGE, _INTERRUPTED = 0, 1, 2, 130
_HOST = HostSettings(fork=sys.platform == "linux")  # whoever watches waits for nine cold starts otherwise


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class OutError(DemoError):
    """The folder for evidence and report cannot be used."""


class Demo:
    """One run."""

    def __init__(self, options: argparse.Namespace, view: View) -> None:
        self.options, self.view = options, view
        self.out = Path(options.out)

    def run(self) -> int:
        """Return the exit status. Raises DemoError, OutError, PasteError, ServerMissingError, UnknownConsumerError."""
        self._clear_out()
        wanted = {self.options.registry: "gitea", self.options.store: "vault"}
        for server in ("registry", *(server for chosen, server in wanted.items() if chosen == server)):
            table.fetch(server, self.view.note)
        began = time.monotonic()
        with (
            tempfile.TemporaryDirectory(prefix="rekey-demo-") as folder,
            World(Path(folder), settings=_HOST, store=self.options.store) as world,
            _undisturbed_end(),
        ):
            company = self._company(world)
            vault = f", Vault {world.vault.door.host}" if self.options.store == "vault" else ""
            functions = len(world.cloud.stack.functions)
            self.view.note(
                f"sandbox started in {time.monotonic() - began:.1f} s: registry {company.registry.host}{vault}, "
                f"control plane, GitHub, Kubernetes, webhook receiver, AWS with {functions} functions"
            )
            return self._rotate(company, Path(folder))

    def _clear_out(self) -> None:
        """Remove what an earlier run left: no old proof may pass for a new one. Raises OutError."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for name in _WRITTEN:
                (self.out / name).unlink(missing_ok=True)
            with tempfile.TemporaryFile(dir=self.out):
                pass  # it can be written to: found out now, and not when all is done
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise OutError(f"nothing can be written into {self.out} ({why}): name another folder with --out") from None

    def _company(self, world: World) -> Company:
        """Set the company up, and meanwhile start the functions' processes, as the daily ping does on AWS."""
        names = [function.name for function in world.cloud.stack.functions]
        names += [name for name in names if name.endswith("-distribute")] * (_SHARDS - 1)
        with ThreadPoolExecutor(len(names)) as pool:
            pings = [pool.submit(world.cloud.lambdas.ping, name) for name in names]
            company = world.company(NAME, kind=self.options.registry, org=ORG)
            for ping in pings:
                ping.result()  # one that was too slow to answer is started anew when it is needed
        if self.options.fail:
            refuse_writes(company, self.options.fail)
        return company

    def _rotate(self, company: Company, private: Path) -> int:
        outside = demo_checks.look(company)
        tags = sum(len(found) for found in outside.before.values())
        self.view.note(f"{NAME}: {len(outside.before)} repositories, {tags} tags, {len(places(company))} consumers")
        talk, watch = Talk(company, self.out, private), Watch(company)
        try:
            self.view.title("The password has leaked: the event is on Rekey's bus")
            company.ask(leak=f"leak-of-{NAME}")
            self._show(watch, company, _WITHIN)
            if watch.outcome == Outcome.READY:
                self._by_hand(watch, company, talk)
            status = self._conclude(watch, outside)
            if self.options.keep:
                self._keep(company, talk)
        finally:
            talk.remove_environment()
        return status

    def _show(self, watch: Watch, company: Company, within: float, hand: Future[str] | None = None) -> None:
        """Show an execution until it has ended. Raises DemoError after `within` seconds.

        `hand`: what is done by hand meanwhile; what that raises is raised.
        """
        deadline = time.monotonic() + within
        with self.view.showing(watch, places(company)):
            while not watch.ended:
                if hand is not None and hand.done():
                    hand.result()
                if time.monotonic() > deadline:
                    raise DemoError(f"the rotation did not end within {within:.0f} s")
                watch.poll()
                self.view.refresh()
                time.sleep(_POLL)
            watch.finish()
            self.view.refresh(last=True)

    def _by_hand(self, watch: Watch, company: Company, talk: Talk) -> None:
        """Let the password be reset by hand: by the demo, once, or by a person until it is taken."""
        self.view.title("Ready: this registry has no API, a person clicks")
        if self.options.unattended:
            watch.expect_another()
            self.view.note("clicking Change Password, and piping what it shows into `rekey paste`")
            with ThreadPoolExecutor(1) as pool:
                hand = pool.submit(lambda: talk.paste(talk.click()))
                self._show(watch, company, _WITHIN, hand)
            self.view.note(hand.result())
            return
        talk.write_environment()
        company.world.cloud.scheduler.start()  # the tick notices when nobody clicks in time
        while watch.outcome == Outcome.READY:
            watch.expect_another()
            for line in talk.to_paste():
                self.view.say(line)
            self.view.note("Waiting for that; Ctrl-C ends the sandbox.")
            self._show(watch, company, math.inf)

    def _conclude(self, watch: Watch, outside: demo_checks.Outside) -> int:
        """Fetch what Rekey wrote, hold it against what is seen, and return the exit status."""
        files = self._fetch(outside.company, watch.generation)
        for name, content in files.items():
            (self.out / name).write_bytes(content)
        evidence: dict[str, Any] = json.loads(files["evidence.json"])
        checks = demo_checks.check(evidence, files, outside)
        self.view.title("What Rekey says, and what is so")
        self.view.checks(checks)
        for problem in _problems(evidence):
            self.view.say(f"✗ {problem}", "bad")
        if others := [one.claim for one in checks if not one.agrees]:
            self.view.say(f"✗ the evidence disagrees with what is seen: {', '.join(others)}", "bad")
        good = evidence["outcome"] == Outcome.FINISHED and all(one.passed for one in checks)
        counts = evidence["counts"]
        told = f"{counts['done']} of {counts['consumers']} consumers have the new password"
        if good:
            self.view.say(f"✓ {told}; credential gap {evidence['credential_gap_s']:.2f} s", "good")
        else:
            self.view.say(f"✗ {evidence['outcome'].replace('_', ' ')}: {told}", "bad")
        self.view.note(f"written: {', '.join(str(self.out / name) for name in files)}")
        return _OK if good else _NOT_SO

    def _fetch(self, company: Company, generation: int) -> dict[str, bytes]:
        client, folder = company.world.cloud.client("s3"), f"rotations/{NAME}/{generation}"
        found: dict[str, bytes] = {}
        for name in _WRITTEN:
            try:
                answer = client.get_object(Bucket=company.world.bucket, Key=f"{folder}/{name}")
            except ClientError as error:
                code = error.response["Error"]["Code"]
                raise DemoError(f"the rotation left no {name} in {folder}: {code}") from None
            found[name] = answer["Body"].read()
        return found

    def _keep(self, company: Company, talk: Talk) -> None:
        """Leave everything running until Ctrl-C."""
        talk.write_environment()
        company.world.cloud.scheduler.start()
        self.view.title("The sandbox keeps running, the one-minute tick too; Ctrl-C ends it")
        for line in talk.to_look():
            self.view.say(line)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        self.view.note("stopping")


def _problems(evidence: dict[str, Any]) -> list[str]:
    """Return what a person is to mend, as the evidence says it."""
    lacking = [row for row in evidence["consumers"] if row["reason"]]
    return [*evidence["problems"], *(f"{row['name']}: {row['outcome']}: {row['reason']}" for row in lacking)]


@contextmanager
def _undisturbed_end() -> Iterator[None]:
    """Ignore signals while what was started is being stopped: nothing may stay behind."""
    try:
        yield
    finally:
        _ignore_signals()


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, _frame: object) -> None:
    """Leave through every `with`, once: a second Ctrl-C must not disturb that."""
    _ignore_signals()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo", usage='make demo [ARGS="…"]', description="Rotate a real registry's password in a sandbox."
    )
    parser.add_argument("--keep", action="store_true", help="leave the sandbox running, and say how to talk to it")
    parser.add_argument(
        "--fail", metavar="CONSUMER", help="let this consumer of the plan refuse: exits with 1 (make: 2)"
    )
    parser.add_argument(
        "--registry",
        choices=("cloudraya", "gitea", "manual"),
        default="cloudraya",
        help="reset by API (cloudraya), by a Gitea that takes a password of ours and is the registry itself (gitea: "
        "needs one, or Go to build it), or by a person who clicks and pastes (manual)",
    )
    parser.add_argument(
        "--store",
        choices=get_args(StoreKind),
        default="secrets-manager",
        help="where the password is kept: Secrets Manager (as moto plays it), or a real Vault",
    )
    parser.add_argument("--unattended", action="store_true", help="with manual: click and paste without a person")
    parser.add_argument("--out", metavar="FOLDER", default="out", help="where evidence and report go (out)")
    options = parser.parse_args(arguments)
    if options.unattended and options.registry != "manual":
        parser.error("--unattended goes with --registry manual: nothing is done by hand else")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status: no traceback, whatever happens."""
    options = _options(arguments)
    for number in _SIGNALS:
        signal.signal(number, _leave)
    view = View()
    try:
        return Demo(options, view).run()
    except (OutError, UnknownConsumerError) as error:
        said, status = str(error), _USAGE
    except (DemoError, PasteError, ServerMissingError) as error:
        said, status = str(error), _NOT_SO
    except KeyboardInterrupt:
        said, status = "interrupted; everything is stopped", _INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last line of defence: its text may quote what must not be shown)
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = (
            f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: a fault of the demo or the sandbox"
        )
        status = _NOT_SO
    sys.stderr.write(f"make demo: {said}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
