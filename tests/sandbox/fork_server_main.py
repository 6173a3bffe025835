"""The other side of fork_server.py: a process without threads that has the libraries loaded, and forks on demand.

Its arguments are the layers that every function has. It is run as a file, so that nothing of the tests is on the path
of what it forks.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

_LOADED = (
    "aws_lambda_powertools",
    "boto3.session",
    "cryptography.hazmat.primitives.asymmetric.padding",
    "httpx_aiohttp",
    "jwt",
    "nacl.public",
    "pydantic",
)
"""What functions load that is not their own. The runtime client is not among it: it reads its address then."""
_RECORDS = "rekey.model"
"""The classes of the records: they hold nothing, read nothing of where they run, and take a tenth of a second."""
_SERVICES = ("dynamodb", "events", "kms", "s3", "secretsmanager", "sns", "stepfunctions")


def _load(layers: list[str]) -> None:
    for name in _LOADED:
        importlib.import_module(name)
    folders = [str(Path(layer, *_RECORDS.split("."))) for layer in layers]
    for found in pkgutil.iter_modules(folders):
        importlib.import_module(f"{_RECORDS}.{found.name}")
    from botocore import loaders, session  # noqa: PLC0415 (it is one of what is loaded)

    # Its descriptions of services and endpoints are megabytes of JSON that every process would read for itself.
    read = functools.cache(loaders.JSONFileLoader().load_file)
    loaders.JSONFileLoader.load_file = lambda _, path: read(path)  # type: ignore[assignment, method-assign]
    described = session.Session()
    described.get_component("endpoint_resolver")
    for service in _SERVICES:
        described.get_service_model(service)
        described.get_component("data_loader").load_service_model(service, "endpoint-rule-set-1")


def main() -> None:
    """Fork for each request on the socket that is standard input, and tell how each child ended, until it is closed."""
    base = sys.path[1:]  # without the folder of this file
    sys.path[:] = [*sys.argv[1:], *base]
    _load(sys.argv[1:])
    sys.path[:] = base
    gc.freeze()
    channel = socket.socket(fileno=os.dup(0))
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(woken, 4096)
                    _tell_ends(channel)
                elif not _fork(channel, base, selector):
                    return


def _tell_ends(channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        channel.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def _fork(channel: socket.socket, base: list[str], selector: selectors.BaseSelector) -> bool:
    data, (*files,), _, _ = socket.recv_fds(channel, 1 << 20, 1)
    if not data:
        return False
    pid = os.fork()
    if pid == 0:
        selector.close()
        _become(json.loads(data), files[0], base)
    with contextlib.suppress(OSError):  # it did that itself, or is gone
        os.setpgid(pid, pid)
    os.close(files[0])
    channel.send(json.dumps({"started": pid}).encode())
    return True


def _become(order: dict[str, object], output: int, base: list[str]) -> NoReturn:
    """Be what `python -m MODULE ARGUMENTS…` would be in that folder and environment."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 256)
        environment, module, arguments = order["environment"], str(order["module"]), order["arguments"]
        assert isinstance(environment, dict)
        assert isinstance(arguments, list)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(str(order["folder"]))
        time.tzset()
        random.seed()
        own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        sys.path[:] = [str(order["folder"]), *own, *base]
        sys.argv[1:] = arguments
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:  # noqa: BLE001 (as the interpreter does at its end)
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
