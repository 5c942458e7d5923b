"""`import eegaug`: light, complete, and plain about what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import eegaug


def python(code: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env})


@pytest.mark.parametrize("name", eegaug.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(eegaug, name) is not None


def test_type_checkers_are_told_of_the_hints():
    assert (Path(eegaug.__file__).parent / "py.typed").is_file()


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'AugMet'"):
        eegaug.AugMet  # noqa: B018


def test_nothing_heavy_beyond_braindecode_is_imported():
    code = """
import sys, braindecode
before = set(sys.modules)
import eegaug
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new - {"eegaug"} - set(sys.stdlib_module_names)))
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "failure",
    [
        "raise RuntimeError('PyTorch and TorchAudio were compiled with different CUDA versions.')",
        "raise OSError('libc10_cuda.so: cannot open shared object file: No such file or directory')",
    ],
)
def test_torch_mismatch_is_one_sentence_with_the_fix(tmp_path, failure):
    package = tmp_path / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text(failure)
    result = python("import eegaug", PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: torch ")
    assert 'pip install "torch<2.15"' in last
    assert "During handling" not in result.stderr


def test_other_import_failures_are_not_called_a_mismatch(tmp_path):
    package = tmp_path / "skorch"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('something else')")
    result = python("import eegaug", PYTHONPATH=str(tmp_path))
    assert result.stderr.strip().splitlines()[-1] == "RuntimeError: something else"


def test_the_command_works_where_braindecode_does_not(tmp_path):
    package = tmp_path / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('libc10_cuda.so: cannot open shared object file')")
    code = "import sys; sys.argv = ['eegaug', 'doctor']; from eegaug.cli import main; main()"
    result = python(code, PYTHONPATH=str(tmp_path))
    assert 'pip install "torch<2.15"' in result.stdout
    assert "Traceback" not in result.stderr
