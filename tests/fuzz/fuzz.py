"""Feeds every parser of foreign bytes what it was not made for.

    python -m tests.fuzz.fuzz --seconds 60 --seed 1
    python -m tests.fuzz.fuzz --target link.message --input 0aff00

Each target has a random sequence of its own, made of the seed and its name. A target passes when
it returns or raises what it is allowed to; anything else, and taking too long, is a crash: its
target, seed and input are printed, and the exit code is 1.
"""

import argparse
import json
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from p2pnode.errors import RemoteError
from tests.fuzz.mutations import mutated

SLICE = 0.25
"""Seconds a target runs before it is the next one's turn."""

OVERTIME = 20.0
"""Seconds of processor time one input may take."""

WAITING = 9
"""Times as long it may take on the clock: on a busy machine, or where it waits and does not end."""


Prepared = tuple[list[bytes], Callable[[bytes], object]]
"""Samples, and the function that takes such bytes."""


@dataclass(frozen=True)
class Target:
    """Something that takes foreign bytes.

    prepare: makes the samples and the function to call. allowed: what that may raise. most: bytes
    in an input.
    """

    name: str
    prepare: Callable[[], Prepared]
    allowed: tuple[type[Exception], ...] = (RemoteError,)
    most: int = 70_000


class Crash(Exception):
    """A target did with an input what it must not do."""

    def __init__(self, target: str, seed: int | None, raw: bytes, failure: BaseException) -> None:
        super().__init__(f"{target}, seed {seed}: {type(failure).__name__} by {raw.hex()}")
        self.target = target
        self.seed = seed
        self.raw = raw
        self.failure = failure

    def told(self) -> str:
        """Return the report."""
        trace = "".join(traceback.format_exception(self.failure))
        return (
            f"{trace}\ncrash of {self.target}\nseed {self.seed}\ninput {self.raw.hex()}\n"
            f"again: python -m tests.fuzz.fuzz --target {self.target} --input HEX\n"
        )


class Overtime(Exception):
    """An input took too long."""


class Run:
    """A target under attack, and what came of it."""

    def __init__(self, target: Target, seed: int, others: Sequence[bytes] = (b"",)) -> None:
        self.target = target
        self.executions = 0
        self.seconds = 0.0
        self.slowest = 0.0
        self.refused = 0
        self._seed = seed
        self._others = others
        self._draw = Random(f"{seed}/{target.name}")
        self._samples, self._call = target.prepare()
        for raw in self._samples:
            self.feed(raw)

    def feed(self, raw: bytes) -> None:
        """Give it one input. Raises Crash."""
        began = time.perf_counter()
        try:
            with _overtime(OVERTIME):
                self._call(raw)
        except self.target.allowed:
            self.refused += 1
        except Exception as failure:
            raise Crash(self.target.name, self._seed, raw, failure) from failure
        took = time.perf_counter() - began
        self.executions += 1
        self.seconds += took
        self.slowest = max(self.slowest, took)

    def go(self, seconds: float, executions: int | None = None) -> None:
        """Go on for some seconds, or until it has had so many inputs. Raises Crash."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and (executions is None or self.executions < executions):
            self.feed(mutated(self._draw, self._samples, self._others, self.target.most))


def attack(targets: Sequence[Target], seed: int, seconds: float, others: Sequence[bytes]) -> str:
    """Attack all targets by turns, and return what came of it as JSON. Raises Crash."""
    runs = [Run(target, seed, others) for target in targets]
    before = _peak()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for run in runs:
            run.go(min(SLICE, seconds / len(runs)))
    told = {
        run.target.name: {
            "executions": run.executions,
            "per_second": round(run.executions / run.seconds),
            "refused": run.refused,
            "slowest_ms": round(1_000 * run.slowest, 1),
        }
        for run in runs
    }
    return json.dumps(
        {"seed": seed, "targets": told, "peak_rss_growth_bytes": _peak() - before}, indent=1
    )


@contextmanager
def _overtime(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Overtime(f"more than {seconds} s")

    before = signal.signal(signal.SIGPROF, stop), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAITING * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGALRM, before[1])


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(words: Sequence[str], targets: Sequence[Target], others: Sequence[bytes]) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=None, help="random when not given")
    parser.add_argument("--target", default="", help="this one alone, or all that begin so")
    parser.add_argument("--input", type=bytes.fromhex, default=None, help="give it this, once")
    chosen = parser.parse_args(words)
    seed = chosen.seed if chosen.seed is not None else Random().getrandbits(32)
    named = [one for one in targets if one.name.startswith(chosen.target)]
    if not named:
        parser.error(f"no such target; there are {', '.join(one.name for one in targets)}")
    try:
        if chosen.input is not None:
            for target in named:
                Run(target, seed, others).feed(chosen.input)
        else:
            print(attack(named, seed, chosen.seconds, others))
    except Crash as crash:
        print(crash.told(), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    from tests.fuzz.samples import OTHERS
    from tests.fuzz.targets import TARGETS

    sys.exit(main(sys.argv[1:], TARGETS, OTHERS))
