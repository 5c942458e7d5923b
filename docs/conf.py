"""Sphinx settings. Nothing here reaches the network."""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# Before torch is imported. Networks of tutorials are small: one thread is quickest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

from eegaug import __version__

project = "eegaug"
author = "eegaug contributors"
copyright = "2026, eegaug contributors"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "mathml",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = f"eegaug {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["eegaug.css"]
html_math_renderer = "mathml"
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc", "sg_download_links"],
    "show_toc_level": 2,
}
html_sidebars = {page: [] for page in ("index", "install", "start", "results", "architecture", "whats_new", "cite")}

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../tutorials",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "matplotlib_animations": False,
    "image_scrapers": ("matplotlib", "figure_scraper"),
    "min_reported_time": 0,
    "remove_config_comments": True,
    "show_memory": False,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("eegaug",),
    "nested_sections": False,
    "write_computation_times": False,  # a page that loads scripts from the network
}

# Of libraries, about their own future.
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", message="Matplotlib is currently using agg")


def inherited_from_elsewhere(app, what, name, obj, skip, options):
    """Leave out what skorch, scikit-learn, braindecode or pydantic define: their documentation has it."""
    if name == "model_config":
        return True
    function = getattr(obj, "fget", None) or getattr(obj, "__func__", obj)
    module = getattr(function, "__module__", None)
    return True if module and not module.startswith("eegaug") else None


def setup(app):
    app.connect("autodoc-skip-member", inherited_from_elsewhere)
