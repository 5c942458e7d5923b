"""Shared settings and fixtures: one thread a process, so that parallel test processes do not fight for the cores."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

# A shell starts what runs in the background with Ctrl-C ignored, and so would all that tests start and interrupt.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real recordings that EEGAUG_DATA names."""
    folder = os.environ.get("EEGAUG_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real recordings: set EEGAUG_DATA to their folder")
    return Path(folder)
