"""Wiring of the function `distribute`: environment → objects → one call into `rekey.steps.distribute`."""

from functools import partial

from rekey.runtime import task_handler
from rekey.settings import Settings
from rekey.steps import distribute
from rekey.steps.bench import Bench

handler = task_handler(partial(distribute.run, Bench(Settings.from_env())))
