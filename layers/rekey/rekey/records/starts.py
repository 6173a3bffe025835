"""The count of executions that were started for a registry: it makes their names, and one start out of two."""

from rekey.records.codec import partition
from rekey.records.dynamo import ConditionFailed, Table, Write


class Starts:
    """Counts starts, conditionally: of two callers that saw the same number, one gets the next."""

    def __init__(self, ledger: Table) -> None:
        self._ledger = ledger

    def last(self, registry: str) -> int:
        """Return the number of the last start, 0 before the first."""
        item = self._ledger.get(partition(registry), "starts")
        return int(item["last"]) if item else 0

    def advance(self, registry: str, seen: int) -> bool:
        """Count one more start after `seen`. False: somebody else did."""
        key = {"pk": partition(registry), "sk": "starts"}
        item = {"format": 1, "last": seen + 1}
        write = (
            Write(key=key, item=item)
            if seen == 0
            else Write(key=key, item=item, condition="#last = :seen", names={"#last": "last"}, values={":seen": seen})
        )
        try:
            self._ledger.write(write)
        except ConditionFailed:
            return False
        return True
