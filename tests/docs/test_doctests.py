"""The examples in docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import eegaug
from eegaug.comparison import methods
from eegaug.operations import registry

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(eegaug.__path__, "eegaug.")
    if not module.name.endswith("__main__")  # importing it runs the command
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["eegaug", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    # What examples register is theirs alone.
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert failed == 0


def test_examples_are_found():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples]
    assert len(examples) > 100
