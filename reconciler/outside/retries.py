"""Repeats requests that failed but may succeed later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

P = ParamSpec("P")
T = TypeVar("T")


class MayPass(Exception):
    """An attempt failed, but another one may succeed."""


def retry(
    attempts: int, wait: Callable[[Any], float], pause: Callable[[float], None], action: Callable[P, T]
) -> Callable[P, T]:
    """The action, repeated while it raises `MayPass`, in all `attempts` times at most; the last exception is raised.

    `wait` gives the seconds before the next attempt, from tenacity's state of the call; `pause` waits.
    """
    return Retrying(
        stop=stop_after_attempt(attempts),
        wait=wait,
        sleep=pause,
        retry=retry_if_exception_type(MayPass),
        reraise=True,
    ).wraps(action)
