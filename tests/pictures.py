"""Looking at pictures in tests."""

import matplotlib.image


def rendered(ax, tmp_path):
    """Size in pixels of the picture, which must not be blank."""
    path = tmp_path / "picture.png"
    ax.figure.savefig(path, dpi=100)
    image = matplotlib.image.imread(path)
    assert image[..., :3].std() > 0.02
    return image.shape[:2]
