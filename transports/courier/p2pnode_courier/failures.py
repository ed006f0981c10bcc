"""What can go wrong with a place, told to people: what happened, what is written, what to do."""

import errno
import os
from typing import ClassVar

from p2pnode.errors import Denied, InvalidInput, LocalError, StoreError
from p2pnode.spi.transport import Deposit

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO}


class CourierFull(StoreError):
    """The place takes no more; `deposit` is what was written before, and stays."""

    code: ClassVar[str] = "courier-full"

    def __init__(self, why: str, deposit: Deposit) -> None:
        super().__init__(
            f"the place is full, {written(deposit)}",
            why=why,
            hint="Make room or take another one, then write again: nothing is written twice",
        )
        self.deposit = deposit


def written(deposit: Deposit) -> str:
    """Return a deposit in words."""
    return f"{deposit.envelopes} envelopes ({deposit.size} bytes) were written"


def told(failure: OSError, deposit: Deposit | None = None) -> LocalError:
    """Return the error to raise for what the operating system says.

    deposit: what was written before, when it happened while writing.
    """
    if failure.errno in _FULL:
        return CourierFull("no space is left there", deposit or Deposit(0, 0))
    sofar = f", {written(deposit)}" if deposit and deposit.envelopes else ""
    reason = os.strerror(failure.errno) if failure.errno else "unknown"
    if failure.errno in _REFUSED:
        return Denied(f"the place does not let us{sofar}", why=reason, hint="Check its permissions")
    if failure.errno in _GONE:
        return InvalidInput(
            f"the folder is not there{sofar}", why=reason, hint="Plug it in, or check the path"
        )
    return StoreError(
        f"the place failed{sofar}",
        why=reason,
        hint="Plug it in again and repeat: nothing is written twice",
    )
