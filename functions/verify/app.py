"""Wiring of the function `verify`: environment → objects → one call into `rekey.steps.verify`."""

from functools import partial

from rekey.runtime import task_handler
from rekey.settings import Settings
from rekey.steps import verify
from rekey.steps.bench import Bench

handler = task_handler(partial(verify.run, Bench(Settings.from_env())))
