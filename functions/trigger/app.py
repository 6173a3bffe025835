"""Wiring of the function `trigger`: environment → objects → one call into `rekey.steps.trigger`."""

from functools import partial

from rekey.runtime import event_handler
from rekey.settings import Settings
from rekey.steps import trigger
from rekey.steps.bench import Bench

handler = event_handler(partial(trigger.run, Bench(Settings.from_env())))
