"""Who keeps the clock: what the machine shows of it, whatever is missing."""

import pytest

from p2pnode import diagnosis
from p2pnode.timekeeping import SECONDS_APART, keeper, kernel_synchronised

NOW = 1_800_000_000


def machine(root, *, service=False, synchronised=False, hardware: str | None = None):
    if service or synchronised:
        (root / "run/systemd/timesync").mkdir(parents=True)
    if synchronised:
        (root / "run/systemd/timesync/synchronized").touch()
    if hardware is not None:
        (root / "sys/class/rtc/rtc0").mkdir(parents=True)
        (root / "sys/class/rtc/rtc0/since_epoch").write_text(hardware)
    return root


@pytest.mark.parametrize(
    ("kernel", "parts", "who", "result"),
    [
        (True, {}, "network", "pass"),
        (True, {"hardware": "7"}, "network", "pass"),
        (False, {"synchronised": True}, "network before", "pass"),
        (None, {"synchronised": True}, "network before", "pass"),
        (False, {"hardware": f"{NOW - 40}\n"}, "hardware", "pass"),
        (None, {"service": True, "hardware": f"{NOW + SECONDS_APART - 1}"}, "hardware", "pass"),
        (False, {"hardware": "312"}, "nobody", "warn"),  # without a battery it begins at 1970
        (False, {"hardware": "garbage"}, "nobody", "warn"),
        (False, {}, "nobody", "warn"),
        (None, {"service": True}, "nobody", "warn"),  # a hardened service may not ask the kernel
        (None, {}, "unknown", "skip"),
    ],
)
def test_who_keeps_the_clock_and_what_doctor_says_of_it(tmp_path, kernel, parts, who, result):
    found = keeper(machine(tmp_path, **parts), lambda: kernel, lambda: NOW)
    assert found == who
    told = diagnosis.kept_by(found)
    assert (told.area, told.result) == ("clock", result)
    assert bool(told.fix) == (result == "warn")


def test_the_real_kernel_answers_whoever_asks():
    assert kernel_synchronised() is not None
