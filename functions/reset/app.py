"""Wiring of the function `reset`: environment → objects → one call into `rekey.steps.reset`."""

from functools import partial

from rekey.runtime import task_handler
from rekey.settings import Settings
from rekey.steps import reset
from rekey.steps.bench import Bench

handler = task_handler(partial(reset.run, Bench(Settings.from_env())))
