"""Formulas of the documentation become MathML."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="needs the docs extra")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def convert():
    spec = importlib.util.spec_from_file_location("mathml", ROOT / "docs" / "mathml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.convert


def formulas():
    """All that stand between dollars in pages and in the math role of docstrings."""
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/methods/*.md")]:
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
        yield from re.findall(r"\$\$(.+?)\$\$", prose, re.DOTALL)
        yield from re.findall(r"(?<!\$)\$([^$\n]+)\$(?!\$)", prose)
    for file in ROOT.glob("eegaug/**/*.py"):
        yield from re.findall(r":math:`(.+?)`", file.read_text(), re.DOTALL)


def test_every_formula_of_the_documentation(convert):
    found = sorted(set(formulas()))
    assert len(found) > 50
    assert [tex for tex in found if not convert(tex).startswith("<math")] == []


@pytest.mark.parametrize(
    ("tex", "parts"),
    [
        (r"\tfrac12 e", ["<mn>1</mn>", "<mn>2</mn>", "<mi>e</mi>"]),
        (r"\frac1C", ["<mn>1</mn>", "<mi>C</mi>"]),
        (r"\log p", ["<mi>log</mi>", '<mspace width="0.17em"/>', "<mi>p</mi>"]),
        (r"\log(p)", ["<mi>log</mi>", "&ApplyFunction;", "<mi>p</mi>"]),
        (r"\big( x \big)", ['minsize="1.2em"', "<mi>x</mi>", 'minsize="1.2em"']),
        (r"1, \dots, n", ["…"]),
    ],
)
def test_what_the_converter_has_in_another_form(convert, tex, parts):
    at, found = 0, convert(tex)
    for part in parts:
        at = found.find(part, at) + 1
        assert at, f"{part} in {found}"


def test_what_is_no_formula_stays_readable(convert):
    assert convert(r"\nothing{<x>}") == r"<code>\nothing{&lt;x&gt;}</code>"
