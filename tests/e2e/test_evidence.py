"""What a finished rotation leaves behind: evidence with the values that people and machines count on, and nothing open.

The least it holds is written down in INTERFACES; a test names each field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey.model.request import RequestState
from rekey.model.rotation import Phase
from tests.e2e import rotating

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import NewCompany
    from tests.sandbox.world import Company
