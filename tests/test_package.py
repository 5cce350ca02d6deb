"""The package as a whole: its public names, what importing it loads, and who may import whom."""

import ast
import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lr_search
from lr_search import plugins
from lr_search.samplers import Strategy
from lr_search.schedules import Schedule
from tests.test_layers import LAYERS

HOUSE = Path(lr_search.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
PACKAGES = sorted(
    {path.parent.relative_to(HOUSE.parent).as_posix().replace("/", ".") for path in HOUSE.rglob("__init__.py")}
)
# the public API of DESIGN.md
PROMISED = {
    "Comparison", "Evaluation", "LRCurve", "LRPrior", "LocalExecutor", "Recommendation", "SnapshotEnsemble", "Suggestion",
    "Training", "Transfer", "Workload", "average_weights", "branches", "classification", "compare", "load", "range_test", "regression",
    "samplers", "schedules", "suggest", "train", "transfer",
}  # fmt: skip


def in_a_new_process(code):
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


# ---- names ----


def test_all_is_sorted_and_holds_every_promised_name():
    assert lr_search.__all__ == sorted(lr_search.__all__)
    assert set(lr_search.__all__) >= PROMISED
    assert len(set(lr_search.__all__)) == len(lr_search.__all__)


@pytest.mark.parametrize("name", lr_search.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(lr_search, name) is not None
    assert name in dir(lr_search)


def test_what_type_checkers_see_is_what_can_be_imported():
    names = set()
    for statement in ast.parse((HOUSE / "__init__.py").read_text()).body:
        if isinstance(statement, ast.If):  # if TYPE_CHECKING:
            names |= {alias.name for line in statement.body for alias in line.names}
    assert names | {"__version__"} == set(lr_search.__all__)


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "lr_search"])
def test_a_packages_all_is_sorted_and_holds_what_it_imports(package):
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {alias.name for line in tree.body if isinstance(line, ast.ImportFrom) for alias in line.names}
    # constants and acronyms, then classes, then functions
    assert module.__all__ == sorted(module.__all__, key=lambda name: (not name.isupper(), name))
    assert set(module.__all__) == imported - {"annotations"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'comparee'"):
        lr_search.comparee  # noqa: B018


def test_the_version_is_the_installed_one():
    project = tomllib.loads((HOUSE.parent / "pyproject.toml").read_text())["project"]
    assert lr_search.__version__ == project["version"] == importlib.metadata.version("lr-search")


def test_the_oldest_constraints_are_the_floors_that_are_declared():
    root = HOUSE.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["demo"], *extras["parquet"], *extras["ray"]]
    floors = dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement).groups() for requirement in declared)
    lines = (root / "constraints-oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    del floors["torch"]  # what is installed is used

    def release(version):  # 2.2 is 2.2.0
        return tuple(int(part) for part in (*version.split("."), 0, 0)[:3])

    assert {name: release(pin) for name, pin in pins.items()} == {
        name: release(floor) for name, floor in floors.items()
    }


def test_types_are_promised_to_type_checkers():
    assert (HOUSE / "py.typed").is_file()


# ---- what an import loads ----


def test_importing_the_package_loads_nothing_heavy():
    loaded = in_a_new_process("import sys, lr_search; print(*sys.modules)")
    heavy = {"torch", "optuna", "pandas", "numpy", "matplotlib", "matplotlib.pyplot", "jinja2", "ray", "sklearn"}
    assert not heavy & set(loaded)


def test_the_command_line_starts_without_torch():
    loaded = in_a_new_process("import sys, lr_search.cli; print(*sys.modules)")
    assert not {"torch", "optuna", "pandas", "matplotlib", "ray"} & set(loaded)


def test_schedules_curves_and_priors_load_no_torch_and_training_loads_no_optuna():
    loaded = in_a_new_process(
        "import sys\n"
        "import lr_search.schedules, lr_search.curves.curve, lr_search.curves.suggest, lr_search.curves.prior\n"
        "print(*(name for name in ('torch', 'optuna', 'matplotlib') if name in sys.modules))\n"
        "import lr_search.training.training, lr_search.ramp.range_test, lr_search.workloads.supervised\n"
        "print(*(name for name in ('optuna', 'ray', 'matplotlib') if name in sys.modules))\n"
    )
    assert loaded == []


@pytest.mark.processes
@pytest.mark.usefixtures("bowl_comparison")
def test_a_report_is_written_without_pyplot(bowl_storage, tmp_path):
    loaded = in_a_new_process(
        "import sys, lr_search\n"
        f"comparison = lr_search.load({bowl_storage!r}, 'bowl')\n"
        f"comparison.save({str(tmp_path)!r})\n"
        "assert comparison.recommend().lr > 0\n"
        "print(*sys.modules)\n"
    )
    assert "matplotlib.figure" in loaded
    assert "matplotlib.pyplot" not in loaded
    assert (tmp_path / "best_so_far.png").stat().st_size > 5_000


def test_only_the_command_line_and_compare_print():
    for file in FILES:
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "print" not in calls or file.relative_to(HOUSE).as_posix() in (
            "cli/commands.py",
            "comparison/compare.py",
        ), file


# ---- plug-ins and words ----


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("lr_search.strategies", {"grid", "probe", "random", "range_test"}),
        ("lr_search.schedules", {"constant", "triangular", "triangular2", "exp_range", "sgdr"}),
        ("lr_search.executors", {"local"}),
    ],
)
def test_ours_are_registered_as_plug_ins_and_each_can_be_loaded(group, names):
    points = importlib.metadata.entry_points(group=group)
    assert names <= {point.name for point in points} == set(plugins.registered(group))
    for name in names:
        found = plugins.load_plugin(group, name)
        if group == "lr_search.strategies":
            assert isinstance(found, Strategy)
        elif group == "lr_search.schedules":
            assert isinstance(found(0.1, 100, 10), Schedule)
        else:
            assert callable(found().run)


def public(holder):
    """(name, object) of what a module or class of ours defines for others to use."""
    for name, value in vars(holder).items():
        value = value.fget if isinstance(value, property) else getattr(value, "func", value)
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if value.__module__.startswith("lr_search"):
            yield f"{holder.__name__}.{name}", value


def test_everything_public_says_what_it_is():
    modules = [importlib.import_module(name) for name in PACKAGES]
    modules += [getattr(lr_search, name) for name in lr_search.__all__ if inspect.ismodule(getattr(lr_search, name))]
    holders = {id(module): module for module in modules}
    pairs = [(name, getattr(lr_search, name)) for name in lr_search.__all__ if name != "__version__"]
    pairs += [pair for module in holders.values() for pair in public(module)]
    pairs += [pair for _, value in list(pairs) if inspect.isclass(value) for pair in public(value)]
    assert len(pairs) > 100
    silent = [name for name, value in pairs if not (value.__doc__ or "").strip()]
    assert silent == []


def test_every_file_says_what_it_holds():
    assert [file.name for file in FILES if not ast.get_docstring(ast.parse(file.read_text()))] == []


DOCUMENTS = sorted(path.name for path in (HOUSE.parent / "docs").glob("*.md"))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in DOCUMENTS)])
def test_the_files_that_a_document_names_are_there(document):
    root = HOUSE.parent
    text = (root / document).read_text()
    named = set(re.findall(r"\b(?:lr_search|integrations|tests|benchmarks|examples|docs)/[\w./-]*\w", text))
    modules = set(re.findall(r"\blr_search\.(\w+(?:\.\w+)*)\.\w+:\w+", text))
    named.discard("benchmarks/data")  # what benchmarks/fetch_data.py fetches
    assert [name for name in sorted(named) if not (root / name).exists()] == []
    assert [name for name in sorted(modules) if not (HOUSE / name.replace(".", "/")).exists()] == []


def test_the_rooms_are_named_in_their_order():
    text = " ".join((HOUSE.parent / "CONTRIBUTING.md").read_text().split())
    listed = text.partition("The rooms, lowest first: ")[2].partition(". ")[0]
    names = [name for name in LAYERS if (HOUSE / name).is_dir() or (HOUSE / f"{name}.py").is_file()]
    assert re.findall(r"\w+", re.sub(r"\([^)]*\)", "", listed)) == names


# ---- what goes with it to those who install it or come upon it ----

ROOT = HOUSE.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def citation():
    yaml = pytest.importorskip("yaml")  # Ray brings it along
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def absolute_readme():
    """The README as PyPI is given it."""
    text = (ROOT / "README.md").read_text()
    for each in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    return text


def test_what_the_source_package_is_to_hold_is_there():
    include = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in include if not (ROOT / name).exists()] == []
    papers = {path.name for path in ROOT.iterdir() if path.suffix in (".md", ".cff") or path.name == "LICENSE"}
    constraints = {path.name for path in ROOT.glob("constraints*.txt")}
    assert papers | constraints | {"docs", "tests"} <= set(include)


def test_the_citation_is_of_this_version_and_names_the_papers():
    cited = citation()
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert str(cited["version"]) == PYPROJECT["project"]["version"]
    assert cited["license"] == PYPROJECT["project"]["license"]
    numbers = [paper["identifiers"][0]["value"] for paper in cited["references"]]
    assert numbers == ["arXiv:1506.01186", "arXiv:1608.03983", "arXiv:1907.10902", "arXiv:1807.05118"]
    for paper, number in zip(cited["references"], numbers, strict=True):
        assert {"type", "title", "authors", "year"} <= paper.keys()
        assert paper["url"] == f"https://arxiv.org/abs/{number.removeprefix('arXiv:')}"


def test_all_addresses_are_of_one_repository():
    home = PYPROJECT["project"]["urls"]["Homepage"]
    owner_and_name = home.removeprefix("https://github.com/")
    urls = [*PYPROJECT["project"]["urls"].values(), citation()["repository-code"]]
    assert all(url.startswith(home) for url in urls)
    raw = f"https://raw.githubusercontent.com/{owner_and_name}/"
    replacements = re.findall(r"\]\((https://[^)]*docs/[^)]*)\)", absolute_readme())
    assert len(replacements) > 3
    assert all(each.startswith((f"{home}/blob/", raw)) for each in replacements)


def test_the_readmes_pictures_are_there_and_are_absolute_on_pypi():
    pictures = r"!\[[^\]]*\]\(([^)]+)\)"
    relative = re.findall(pictures, (ROOT / "README.md").read_text())
    absolute = re.findall(pictures, absolute_readme())
    assert len(relative) >= 1
    assert [name for name in relative if not (ROOT / name).is_file()] == []
    assert all(url.startswith("https://raw.githubusercontent.com/") for url in absolute)
    assert [url.partition("/HEAD/")[2] for url in absolute] == relative
    links = re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", absolute_readme())
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_issue_forms_are_complete():
    yaml = pytest.importorskip("yaml")
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    if not folder.exists():
        pytest.skip("the source package has no issue forms")
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yml")}
    forms.pop("config")
    assert forms.keys() == {"bug_report", "wrong_suggestion", "feature_request"}
    for form in forms.values():
        assert {"name", "description", "body"} <= form.keys()
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert len({field["id"] for field in fields}) == len(fields)
        assert all(field["attributes"]["label"] for field in fields)
    asked = {field.get("id"): field for field in forms["wrong_suggestion"]["body"]}
    assert "curve.save(" in asked["curve"]["attributes"]["description"]
    assert "report.html" in asked["page"]["attributes"]["description"]
