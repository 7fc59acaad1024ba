"""What holds the repository together: `ssl/` shadows nothing, imports go one way, ray and torch stay where they belong."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ssl" / "semiseg"
LEVELS = """
refusals lazy < annotations data_settings < config < coalitions machine measures outside waiting < provenance change development
< stage < batch < hard < device losses metrics schedules < ema < augment < data nets < gauges methods < codec graphs norms < evaluate <
pseudo < batches < outcome quality < train < remote < store < derived < results < published inputs users < runner < model <
onnx_file predict < sweep < search < api < care < tool < __main__
"""
LEVEL = {name: level for level, names in enumerate(LEVELS.replace("\n", " ").split("<")) for name in names.split()}
REPORT = {
    "report": {"coalitions", "measures", "results"}
}  # imports nothing else of the package, and only sweep, search, api and tool import it
Sources = dict[str, str]


def sources(folder: Path = PACKAGE) -> Sources:
    """Text of every module by dotted name under the package; a package's own name stands for its __init__."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imported(text: str) -> set[str]:
    """Every module that is imported anywhere in the text, also inside functions; `from a import b` names a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def own(text: str, modules: Iterable[str]) -> set[str]:
    """Modules of the package that the text imports, by their most exact name."""
    names = {name.removeprefix("semiseg.") for name in imported(text) if name.startswith("semiseg.")} & set(modules)
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


def violations(modules: Sources) -> list[str]:
    """Imports against the order of LEVELS, cycles inside a package, and modules that have no place in the order."""
    found = []
    for name, text in modules.items():
        top = name.split(".")[0]
        if name and top not in LEVEL and top not in REPORT:
            found.append(f"{name} has no level")
            continue
        for other in own(text, modules) if name else set():
            theirs = other.split(".")[0]
            if theirs == top:
                continue
            if top in REPORT:
                allowed = theirs in REPORT[top]
            elif theirs in REPORT:
                allowed = top in ("sweep", "search", "api", "tool")
            else:
                allowed = LEVEL.get(theirs, 99) < LEVEL[top]
            if not allowed:
                found.append(f"{name} imports {other}")
    try:
        TopologicalSorter({name: own(text, modules) - {name} for name, text in modules.items()}).prepare()
    except CycleError as error:
        found.append(" -> ".join(error.args[1]))
    return sorted(found)


def python(code: str, *, cwd: Path = ROOT, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(words or ("-c", code))]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


# ---- ssl/ and the standard library's ssl

RAY_TLS = """
import ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
print(ray.get(ray.remote(lambda: __import__("ssl").create_default_context().verify_mode.name).remote()))
"""
TLS = "import ssl; print(ssl.create_default_context().verify_mode.name)"


def test_the_folder_ssl_has_no_init_file() -> None:
    assert PACKAGE.is_dir()
    assert not (ROOT / "ssl" / "__init__.py").exists()


def test_tls_works_from_the_root_of_the_repository() -> None:
    ran = python(TLS)
    assert ran.stdout == "CERT_REQUIRED\n", ran.stderr


def test_tls_works_under_python_m_pytest_from_the_root(tmp_path: Path) -> None:
    test = tmp_path / "test_tls.py"
    test.write_text(f"def test_tls():\n    {TLS}\n    assert ssl.OPENSSL_VERSION\n")
    ran = python("", words=("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(test)))
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_tls_works_in_ray_workers_started_from_the_root() -> None:
    ran = python(RAY_TLS)
    assert ran.stdout == "CERT_REQUIRED\n", ran.stderr


def test_an_init_file_in_ssl_would_break_tls(tmp_path: Path) -> None:
    """The two checks above can fail."""
    (tmp_path / "ssl").mkdir()
    assert python(TLS, cwd=tmp_path).returncode == 0
    (tmp_path / "ssl" / "__init__.py").touch()
    assert "has no attribute 'create_default_context'" in python(TLS, cwd=tmp_path).stderr


# ---- direction of imports


def test_imports_go_one_way() -> None:
    assert violations(sources()) == []


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("losses", "from semiseg.methods import ThreeStage", "losses imports methods"),
        ("losses", "from semiseg import metrics", "losses imports metrics"),
        ("data.pack", "def later():\n    import semiseg.nets.unet", "data.pack imports nets.unet"),
        ("nets.unet", "from semiseg.data.pack import Pack", "nets.unet imports data.pack"),
        ("report.page", "from semiseg.store import Store", "report.page imports store"),
        ("train", "from semiseg.report import tables", "train imports report.tables"),
        ("helpers", "", "helpers has no level"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(module: str, text: str, said: str) -> None:
    modules = sources()
    found = violations(modules | {module: f"{modules.get(module, '')}\n{text}\n"})
    assert said in found


def test_a_cycle_inside_a_package_is_found() -> None:
    modules = sources()
    found = violations(modules | {"augment.warp": f"{modules['augment.warp']}\nfrom semiseg.augment.views import weak\n"})
    (cycle,) = [each.split(" -> ") for each in found if " -> " in each]
    assert {"augment.warp", "augment.views"} <= set(cycle)
    assert cycle[0] == cycle[-1]


def test_scripts_are_imported_by_nothing() -> None:
    scripts = {path.stem for folder in ("sweeps", "analysis") for path in (ROOT / folder).glob("*.py")}
    assert {"ablate_three_stage", "ablation_report"} <= scripts
    for name, text in sources().items():
        assert not {each.split(".")[0] for each in imported(text)} & scripts, name


def test_only_two_modules_import_ray() -> None:
    found = {name for name, text in sources().items() if any(each.split(".")[0] == "ray" for each in imported(text))}
    assert found == {"sweep.cluster", "sweep.tune"}


# ---- what an import pulls in

BLOCK = "import sys\nsys.modules['ray'] = None\n"
WITHOUT_RAY = [*(f"semiseg.{name}" for name in LEVEL), "semiseg.sweep.command"]


def test_everything_but_the_tuner_imports_where_ray_is_absent() -> None:
    """The trainer up to `runner` in the order of the levels, and the command line with its plan and estimate."""
    assert "semiseg.runner" in WITHOUT_RAY
    ran = python(BLOCK + "".join(f"import {name}\n" for name in WITHOUT_RAY) + "print('fine')")
    assert ran.stdout == "fine\n", ran.stderr


def test_the_block_on_ray_blocks() -> None:
    assert "import of ray halted" in python(BLOCK + "import semiseg.sweep.tune").stderr


# ---- registries


@pytest.mark.parametrize(
    ("module", "name"), [("methods", "METHODS"), ("nets", "NETS"), ("losses", "DISTANCES"), ("data", "DATASETS")]
)
def test_a_registry_is_a_dict_that_can_be_read(module: str, name: str) -> None:
    tree = ast.parse(sources()[module])
    values = [node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name]
    assert len(values) == 1
    (value,) = values
    assert isinstance(value, ast.Dict)
    assert all(isinstance(key, ast.Constant) and isinstance(key.value, str) for key in value.keys)
    assert all(isinstance(entry, ast.Name | ast.Attribute) for entry in value.values)


def taken_twice(modules: Sources) -> dict[str, list[str]]:
    """Public classes and functions of one name in several modules. Every command has its own `main`."""
    found: dict[str, list[str]] = {}
    for name, text in modules.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_") and node.name != "main":
                found.setdefault(node.name, []).append(name)
    return {name: places for name, places in sorted(found.items()) if len(places) > 1}


def test_no_two_things_share_a_name() -> None:
    assert taken_twice(sources()) == {}
    assert taken_twice({"a": "def f(): ...\nclass _G: ...", "b": "class f: ...\nclass _G: ..."}) == {"f": ["a", "b"]}
