"""Wiring of the function `webhook`: environment → objects → one call into `rekey.steps.webhook`."""

from functools import partial

from rekey.runtime import event_handler
from rekey.settings import Settings
from rekey.steps import webhook
from rekey.steps.bench import Bench

handler = event_handler(partial(webhook.run, Bench(Settings.from_env())))
