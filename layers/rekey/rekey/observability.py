"""Logs: structured, one line an event, and never a value that came from outside.

What a message may hold is what errors may hold (`rekey.errors`). Tracebacks of unexpected errors are reduced to places
in the code, because the text of a foreign exception can quote the document it failed on.
"""

import traceback
from pathlib import PurePath

from aws_lambda_powertools import Logger

logger = Logger(service="rekey", log_uncaught_exceptions=False)


def places(error: BaseException) -> list[str]:
    """Return where an error came from, outermost first: `file:line function`, no values and no message."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames]
