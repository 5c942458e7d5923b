"""Code that an accelerator runs, on one whose tensors have shapes and devices but no values."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

SCRIPT = Path(__file__).with_name("on_accelerator.py")


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this version of torch has no accelerator without memory",
)
def test_no_tensor_on_another_device_and_nothing_for_the_host_to_wait_for():
    # A process of its own: the accelerator cannot be taken away again.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout == "29 cases\n"
