"""Formulas as MathML, which browsers show by themselves: no script, nothing from the network."""

import html
import re

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

_logger = logging.getLogger(__name__)

#: What the converter knows in another form only.
_OTHERWISE = (
    (r"\\dots\b", r"\\ldots"),
    (r"\\[lr]Vert\b", r"\\|"),
    (r"\\(big|Big)(?=[(\[])", r"\\\1l"),
    (r"\\(big|Big)(?=[)\]])", r"\\\1r"),
    (r"\\([td]?frac)(\w)(\w)", r"\\\1{\2}{\3}"),
)
#: Where TeX leaves a thin space: between the name of a function and an argument without brackets.
_FUNCTION = re.compile(r"<mo>&ApplyFunction;</mo>(?=\s*<(?!mo[> ]))")
#: Bars of a norm, of which browsers stretch the left one alone.
_NORM = re.compile(r"<mo[^>]*>[‖∥]</mo>")


def convert(tex, block=False, node=None):
    """MathML of a formula; what cannot be converted is a warning, and is shown as it was written."""
    for pattern, other in _OTHERWISE:
        tex = re.sub(pattern, other, tex)
    try:
        found = latex2mathml.tex2mathml(tex, as_block=block)
    except MathError as error:
        _logger.warning("formula %r: %s", tex, error, location=node)
        return f"<code>{html.escape(tex)}</code>"
    found = _NORM.sub('<mo stretchy="false">‖</mo>', found)
    return _FUNCTION.sub('<mspace width="0.17em"/>', found)


def _inline(translator, node):
    translator.body.append(convert(node.astext(), node=node))
    raise nodes.SkipNode


def _block(translator, node):
    """Blank lines separate formulas, each on a line of its own."""
    for tex in re.split(r"\n\s*\n", node.astext().strip()):
        translator.body.append(f'<div class="math">{convert(tex, block=True, node=node)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
