"""Wiring of the function `report`: environment → objects → one call into `rekey.steps.report`."""

from functools import partial

from rekey.runtime import task_handler
from rekey.settings import Settings
from rekey.steps import report
from rekey.steps.bench import Bench

handler = task_handler(partial(report.run, Bench(Settings.from_env())))
