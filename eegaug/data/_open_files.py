"""Files of windows that stay open from one batch to the next."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FILES", "OpenFiles"]


class OpenFiles:
    """A few open files of this process, the longest unused closed first, so that any number of nights can be read."""

    def __init__(self, limit: int = 64):
        self.limit = limit
        self.reset()

    def reset(self) -> None:
        self.lock = threading.Lock()
        self.files: OrderedDict[str, Any] = OrderedDict()

    def forget(self, path: str) -> None:
        """Close a file that may have been replaced: an open one would still be the old one."""
        with self.lock:
            if (f := self.files.pop(path, None)) is not None:
                f.close()

    def close_in(self, folder: Path) -> None:
        """Close what is open of a folder: on Windows a file that is open can be neither replaced nor removed."""
        for path in [path for path in tuple(self.files) if Path(path).parent == folder.absolute()]:
            self.forget(path)

    def read_into(self, path: str, out: np.ndarray, offset: int) -> None:
        """Fill the contiguous array `out` from byte `offset` of the file."""
        with self.lock:
            f = self.files.get(path)
            if f is None:
                f = self.files[path] = open(path, "rb", buffering=0)  # noqa: SIM115 - stays open on purpose
                if len(self.files) > self.limit:
                    self.files.popitem(last=False)[1].close()
            self.files.move_to_end(path)
            view, done = memoryview(out).cast("B"), 0
            while done < len(view):
                if hasattr(os, "preadv"):
                    n = os.preadv(f.fileno(), [view[done:]], offset + done)
                else:
                    f.seek(offset + done)
                    n = f.readinto(view[done:])
                if not n:
                    raise OSError(
                        f"{path} ends {len(view) - done} bytes too early: delete the store folder and build it again."
                    )
                done += n


FILES = OpenFiles()
if hasattr(os, "register_at_fork"):
    # A forked worker must not inherit a lock that another thread held; positioned reads would allow sharing the files.
    os.register_at_fork(after_in_child=FILES.reset)
