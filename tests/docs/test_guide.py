"""What the guide says of other recordings than sleep runs as it stands there."""

import re
from pathlib import Path

import numpy as np

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")


def test_anything_else_than_sleep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    passage = GUIDE.partition("## How do I train on anything else than sleep?\n")[2].partition("\n## ")[0]
    learned, compared = re.findall(r"```python\n(.*?)```", passage, re.S)
    rng, n = np.random.default_rng(0), 24
    names = np.array(["feet", "left_hand", "right_hand", "tongue"])
    given = {
        "ch_names": ["FC3", "FC4", "C3", "Cz", "C4"],
        "X": rng.standard_normal((n, 5, 250)).astype("float32"),
        "y": names[np.arange(n) % 4],
        "subject": np.array(["s1", "s2", "s3"]).repeat(8),
        "session": np.tile(np.array(["train", "test"]).repeat(4), 3),
    }
    exec(learned.replace("max_epochs=100", "max_epochs=1, verbose=0"), given)
    assert given["clf"].classes_.tolist() == list(names)
    strengths = given["clf"].invariances_.set_index("operation")["unit"]
    assert len(strengths) == 6 and strengths["sensors_rotation_z"] == "degrees"
    assert "time_masking" in compared and compared.count("folds=3") == 1
    quick = compared.replace("folds=3", "folds=1, max_epochs=1, verbose=False").replace("compare(", "found = compare(")
    exec(quick, given)
    assert given["data"].description["night"].tolist() == ["test", "train"] * 3
    found = given["found"].table.set_index("method")
    assert set(found.index) == {"none", "augnet-change", "trivial-augment"}
    assert found["test_windows"].tolist() == [8, 8, 8] and "test_f1_left_hand" in found
