"""What ``torch.compile`` leaves alone."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["uncompiled"]


def uncompiled(method: Callable) -> Callable:
    """Keep a method out of ``torch.compile``.

    What a layer computes depends on weights as numbers and on fresh draws: a compiler would break it into many pieces
    and compile them anew whenever a choice changes. The network behind it is compiled.
    """
    disabled: list[Callable] = []

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:  # it takes seconds to import, and without it nothing is compiled
            return method(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(method))
        return disabled[0](*args, **kwargs)

    return run
