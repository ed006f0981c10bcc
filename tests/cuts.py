"""Ends a process, so to speak, before a chosen call to the system."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Cut(BaseException):
    """Stands for the end of the process: nothing may catch it."""


@contextmanager
def cut_before(number: int, calls: tuple[str, ...]) -> Iterator[None]:
    """Raise Cut at the number-th call of any of these functions of `os`, and at all after it."""
    left = [number]

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Cut
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, counting(getattr(os, name)))
        yield
