"""Wiring of the function `begin`: environment → objects → one call into `rekey.steps.begin`."""

from functools import partial

from rekey.runtime import task_handler
from rekey.settings import Settings
from rekey.steps import begin
from rekey.steps.bench import Bench

handler = task_handler(partial(begin.run, Bench(Settings.from_env())))
