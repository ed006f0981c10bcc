"""Whether a home lies on a memory card, by what Linux shows of its block devices."""

import os
from pathlib import Path

import pytest

from p2pnode.card import batches, on_card

CARD = "devices/platform/soc/mmc_host/mmc0/mmc0:0007/block/mmcblk0/mmcblk0p2"
DISK = "devices/pci0000:00/ata1/host0/block/sda/sda1"
CRYPT = "devices/virtual/block/dm-0"


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    for block in (CARD, DISK, CRYPT):
        (tmp_path / "sys" / block).mkdir(parents=True)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    return tmp_path / "sys"


def lies_on(sysfs: Path, block: str, home: Path) -> None:
    """Let a home's file system be on a block device."""
    device = home.stat().st_dev
    link = sysfs / f"dev/block/{os.major(device)}:{os.minor(device)}"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("../..") / block)


def test_cards_are_known_and_disks_are_none(sysfs, tmp_path):
    assert not on_card(tmp_path, sysfs)  # of a network's or memory's file system nothing is told
    lies_on(sysfs, DISK, tmp_path)
    assert not on_card(tmp_path, sysfs)
    lies_on(sysfs, CARD, tmp_path)
    assert on_card(tmp_path, sysfs)
    assert not on_card(tmp_path / "nowhere", sysfs)


def test_a_card_is_known_below_encryption(sysfs, tmp_path):
    lies_on(sysfs, CRYPT, tmp_path)
    slaves = sysfs / CRYPT / "slaves"
    slaves.mkdir()
    (slaves / "sda1").symlink_to(sysfs / DISK)
    assert not on_card(tmp_path, sysfs)
    (slaves / "mmcblk0p2").symlink_to(sysfs / CARD)
    assert on_card(tmp_path, sysfs)


def test_what_is_set_counts_before_what_is_found(tmp_path):
    assert batches("on", tmp_path)
    assert not batches("off", tmp_path)
    assert batches("auto", tmp_path) == on_card(tmp_path)
