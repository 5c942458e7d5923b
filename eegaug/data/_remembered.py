"""What files that take long to open said about themselves, kept from one call to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from eegaug._version import __version__
from eegaug.data.atomic import write_json
from eegaug.data.files.continuous import files_of

__all__ = ["remembered"]


def remembered(path: Path, look: Callable[[], Any]) -> Any:
    """What a look at a recording found, by this call or an earlier one, as long as its files are as they were.

    Parameters
    ----------
    path : Path
    look : callable
        Gives what JSON can hold.

    Returns
    -------
    object
        As JSON gives it back.
    """
    from eegaug.data.recordings import cache_folder

    of = [[q.name, (s := q.stat()).st_size, s.st_mtime_ns] for q in files_of(path)] + [__version__]
    name = f"{hashlib.sha1(str(path.absolute()).encode(errors='surrogateescape')).hexdigest()}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # there is none, or it is damaged
        known = json.loads((cache_folder() / "files" / name).read_text(encoding="utf-8"))
        if known["of"] == of:
            return known["found"]
    found = look()
    with suppress(OSError):  # it is found anew each time, then
        write_json(cache_folder() / "files" / name, {"of": of, "found": found})
    return json.loads(json.dumps(found))
