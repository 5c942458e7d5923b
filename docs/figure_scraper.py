"""Gallery pictures of figures that pyplot does not know: those that eegaug's functions return."""

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

_seen = []  # figures themselves: an address may be used again


def scrape(block, block_vars, gallery_conf):
    """Save the figure that a block has left in the name ``figure``, once."""
    figure = block_vars["example_globals"].get("figure")
    if not isinstance(figure, Figure) or hasattr(figure, "number") or any(figure is one for one in _seen):
        return ""
    _seen.append(figure)
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path, dpi=100, bbox_inches="tight")
    return figure_rst([path], gallery_conf["src_dir"])


def _get_sg_image_scraper():
    return scrape
