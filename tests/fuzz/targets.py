"""What the fuzzer attacks: every function that takes foreign bytes, and samples of what it takes.

Where a parser lies behind a seal, the samples are what is sealed, and the target seals them as a
contact, or a stranger on a link, could. The first byte of such an input chooses the moment.
"""

import importlib

from tests.fuzz import anew, exchanges, links, machine, pairings, sealed
from tests.fuzz.fuzz import Target
from tests.fuzz.samples import ROOT


def _of_transports() -> list[Target]:
    """Return what each transport's folder brings: its `NAME_targets.py`."""
    files = sorted(ROOT.glob("transports/*/tests/*_targets.py"))
    found = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return [one for name in found for one in importlib.import_module(name).TARGETS]


TARGETS = [
    *_of_transports(),
    *sealed.TARGETS,
    *links.TARGETS,
    *pairings.TARGETS,
    *anew.TARGETS,
    *exchanges.TARGETS,
    *machine.TARGETS,
]
"""All of it. What is not allowed to raise anything says so in its docstring or answers instead."""
