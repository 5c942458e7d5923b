"""Pictures of policies: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")

from eegaug.plotting import plot_policies, plot_policy
from eegaug.policy import ClassPolicy, Policy, SubPolicy

POLICY = Policy(
    sub_policies=[
        SubPolicy(operations=[("gaussian_noise", 0.25, (0.0, 0.5))], weight=1),
        SubPolicy(operations=[("frequency_shift", 0.5, 0.1), ("sign_flip", 1.0)], weight=3),
        SubPolicy(operations=[], weight=4),
    ],
    sfreq=100,
)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def bars(ax):
    """Length of the coloured bars, as shares of the whole."""
    patches = ax.patches
    return [
        round(share.get_width() / whole.get_width(), 6)
        for whole, share in zip(patches[::2], patches[1::2], strict=True)
    ]


def test_numbers_in_physical_units():
    ax = plot_policy(POLICY, title="three")
    found = texts(ax)
    assert found[3:] == [
        *("50 %", "changes nothing"),
        *("37.5 %", "frequency shift", "0.50", "0.5 Hz", "then sign flip", "1.00", "–"),
        *("12.5 %", "gaussian noise", "0.25", "0 to 0.1 SD"),
    ]
    assert bars(ax) == [0.5, 0.1, 1.0, 0.25, 0.5]
    assert ax.get_title(loc="left") == "three"
    assert texts(POLICY.plot()) == texts(plot_policy(POLICY.table())) == found


def test_thousands_of_samples_have_no_exponent():
    policy = Policy.fixed_sleep(sfreq=1000)
    table = policy.table().assign(strength=2000.0, unit="samples", magnitude=1.0, lowest_magnitude=0.5)
    assert "1000 to 2000 samples" in texts(plot_policy(table))


def test_likeliest_first_and_the_others_counted():
    found = texts(plot_policy(POLICY, limit=1))
    assert "changes nothing" in found and found[-1] == "and 2 others" and "gaussian noise" not in found
    with pytest.raises(ValueError, match="limit must be at least 1"):
        plot_policy(POLICY, limit=0)


def test_classes_have_headings():
    policy = ClassPolicy(classes=[0, 1], policies=[POLICY, Policy.identity()], names=["W", "N1"])
    found = texts(plot_policy(policy))
    assert found.index("W") < found.index("frequency shift") < found.index("N1")


def test_how_many_are_drawn_stands_in_the_heading():
    several = Policy.rand_augment(sfreq=100, n_operations=3)
    classwise = ClassPolicy(classes=[0, 1], policies=[several, several])
    assert classwise.table()["draws"].tolist() == [3] * len(classwise.table())
    for policy in (several, several.table(), classwise, classwise.table()):
        assert "drawn, 3 times" in texts(plot_policy(policy))
    assert "drawn" in texts(plot_policy(Policy.rand_augment(sfreq=100, n_operations=1)))


def test_side_by_side_without_overlap(tmp_path):
    policies = {str(i): Policy.random(sfreq=100, n_sub_policies=1 + i % 4, random_state=i) for i in range(7)}
    figure = plot_policies(policies, columns=3, title="learned")
    figure.savefig(tmp_path / "policies.png", dpi=60)
    image = matplotlib.image.imread(tmp_path / "policies.png")
    assert image[..., :3].std() > 0.02
    boxes = [ax.get_position() for ax in figure.axes]
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(policies)
    for i, one in enumerate(boxes):
        assert one.x0 >= 0 and one.x1 <= 1 and one.y0 >= 0 and one.y1 <= 1
        assert not any(one.overlaps(other) for other in boxes[:i])
    with pytest.raises(ValueError, match="no policy to draw"):
        plot_policies({})


@pytest.mark.parametrize("settings", [{}, {"figure.autolayout": True}])
def test_long_titles_keep_off_each_other(settings):
    name = "AugNet, one operation per window, fold {}, seed 0, 12.5 % of the subjects"
    policies = {name.format(i): Policy.random(sfreq=100, n_sub_policies=1 + i % 3, random_state=i) for i in range(7)}
    with matplotlib.rc_context(settings):
        figure = plot_policies(policies, columns=3)
        figure.draw_without_rendering()
    titles = [ax._left_title.get_window_extent() for ax in figure.axes]
    rows = [text.get_window_extent() for ax in figure.axes for text in ax.texts]
    for i, box in enumerate(titles):
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in [*titles[:i], *rows])
