"""Wiring of the function `notify`: environment → objects → one call into `rekey.steps.notify`."""

from functools import partial

from rekey.runtime import event_handler
from rekey.settings import Settings
from rekey.steps import notify
from rekey.steps.bench import Bench

handler = event_handler(partial(notify.run, Bench(Settings.from_env())))
