"""Whether a home lies on a memory card, which wears out by being written to."""

import os
from pathlib import Path
from typing import Literal

SYSFS = Path("/sys")


def on_card(path: Path, sysfs: Path = SYSFS) -> bool:
    """Tell whether a path lies on an SD card or its like, as far as Linux says: directly, or below
    encryption or LVM. Elsewhere, or where it is not known, it does not."""
    try:
        device = path.stat().st_dev
        block = (sysfs / f"dev/block/{os.major(device)}:{os.minor(device)}").resolve(strict=True)
        return _card(block)
    except OSError:
        return False


def _card(block: Path) -> bool:
    """Tell it of a block device by its place among all devices: mmc1/…/mmcblk1/mmcblk1p2."""
    below = block / "slaves"
    beneath = list(below.iterdir()) if below.is_dir() else []
    return any(part.startswith("mmcblk") for part in block.parts) or any(
        _card(one.resolve(strict=True)) for one in beneath
    )


def batches(wanted: Literal["auto", "on", "off"], home: Path) -> bool:
    """Tell whether a home's node shall write less often: `[store] batch_writes`."""
    return wanted == "on" or (wanted == "auto" and on_card(home))
