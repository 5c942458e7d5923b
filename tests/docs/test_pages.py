"""The documentation has all that is public, tutorials compile, and links lead somewhere."""

import ast
import builtins
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS, TUTORIALS = ROOT / "docs", ROOT / "tutorials"
PUBLIC = [
    "eegaug",
    "eegaug.augnet",
    "eegaug.checkpoint",
    "eegaug.comparison",
    "eegaug.consistency",
    "eegaug.data",
    "eegaug.experiments",
    "eegaug.functional",
    "eegaug.invariance",
    "eegaug.montage",
    "eegaug.operations",
    "eegaug.plotting",
    "eegaug.policy",
    "eegaug.search",
    "eegaug.staging",
    "eegaug.transforms",
]
LISTED = re.findall(r"^(?:   |\.\. autodata:: )(eegaug[\w.]+)$", (DOCS / "api.rst").read_text(), re.MULTILINE)
SCRIPTS = sorted(TUTORIALS.glob("plot_*.py"))
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("methods/*.md"), *DOCS.glob("*.rst"), ROOT / "README.md"])


def find(dotted):
    """The object of a dotted name."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            found = getattr(found, name)
        return found
    raise AssertionError(f"{dotted} does not exist")


@pytest.fixture(scope="module")
def documented():
    return {name: find(name) for name in LISTED}


@pytest.mark.parametrize("module", PUBLIC)
def test_all_that_is_public_is_in_the_reference(module, documented):
    home = importlib.import_module(module)
    missing = [
        name
        for name in home.__all__
        if name != "__version__"
        and f"{module}.{name}" not in documented
        and not any(shown is getattr(home, name) for shown in documented.values())
    ]
    assert missing == [], f"add to docs/api.rst: {missing}"


def test_the_reference_lists_nothing_twice():
    assert len(LISTED) == len(set(LISTED)) > 100


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_compiles_and_has_a_title(script):
    text = script.read_text()
    compile(text, script, "exec")
    title, line, *_ = ast.get_docstring(ast.parse(text)).splitlines()
    assert set(line) == {"="} and len(line) == len(title)


def test_there_is_a_tutorial_for_each_subject():
    subjects = [
        "operations",
        "augnet",
        "own_recordings",
        "sleep_edf",
        "search",
        "policies",
        "own_operation",
        "invariance",
    ]
    assert [re.sub(r"plot_\d+_", "", path.stem) for path in SCRIPTS] == [*subjects, "compare", "stage"]


def slugs(path):
    """Anchors of the headings of a page in Markdown."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [p for p in PAGES if p.suffix == ".md"], ids=lambda path: path.stem)
def test_links_lead_somewhere(page):
    prose = re.sub(r"```(?!\{).*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        made = path.startswith("auto_examples/") or "/auto_examples/" in path
        if made:  # from a tutorial, by the build
            there = TUTORIALS / re.sub(r"\.(rst|md|html)$", ".py", Path(path).name)
            there = TUTORIALS / "README.txt" if there.name == "index.py" else there
        assert there.exists(), f"{page.name} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in slugs(there), f"{page.name} links to {target}"
    for name in re.findall(r"\{(?:func|class|mod|meth|attr|exc)\}`~?([\w.]+)`", prose):
        find(name)


def introduced(block):
    """What a block of code assigns, defines, imports or takes as an argument."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]


@pytest.mark.parametrize("page", [p for p in PAGES if p.suffix == ".md"], ids=lambda path: path.stem)
def test_examples_use_what_the_page_has_introduced(page):
    # By code, by name in the prose before, or by convention.
    known = {*dir(builtins), "X_train", "y_train", "X_test"}
    for prose, block in re.findall(r"(.*?)^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
        known |= {name for code in re.findall(r"`([^`\n]+)`", prose) for name in re.findall(r"\b[A-Za-z_]\w*", code)}
        known |= set(introduced(block))
        used = {node.id for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Name)}
        assert used <= known, f"{page.name}: {sorted(used - known)} in\n{block}"


@pytest.mark.parametrize("page", [p for p in PAGES if p.name in ("index.md", "guide.md")], ids=lambda path: path.stem)
def test_contents_exist(page):
    for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for entry in block.splitlines():
            entry = re.sub(r".*<(.*)>", r"\1", entry).strip()
            if entry and not entry.startswith((":", "auto_examples")):
                assert any((page.parent / f"{entry}{ending}").exists() for ending in (".md", ".rst")), entry


def test_all_methods_of_a_comparison_are_explained():
    from eegaug.comparison import get_method, list_methods

    def is_ours(name):
        build = get_method(name).build
        return getattr(build, "func", build).__module__.startswith("eegaug.")

    names, page = list(filter(is_ours, list_methods())), (DOCS / "methods" / "index.md").read_text()
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in page] == []
