"""The layer rule of docs/architecture.md, checked on the source of every module and on imports in new processes."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "continuousflex_dl"

# layer -> what it may import of ours. Top-level modules are layers of their own.
ALLOWED = {
    "core": {"core"},
    "options": {"options"},
    "cli": {"core", "cli", "options", "app", "_version"},  # cflex view starts the app
    "app": {"app", "core", "options", "_version"},
    "convert": {"options", "convert", "core.io"},
    "protocols": {"options", "convert", "protocols", "constants"},
    "viewers": {"options", "convert", "protocols", "viewers"},
    "wizards": {"options", "convert", "protocols", "viewers", "wizards"},
    "constants": {"options"},
    "bibtex": set(),
    "_version": set(),
    "_plugin": {"options"},
    "__init__": {"_version", "_plugin"},
    "__main__": {"cli"},
    "tests": {"options", "convert", "protocols", "viewers", "wizards", "tests", "constants"},
}
SCIPION = {"pyworkflow", "pwem", "xmippLib", "scipion", "tkinter", "emtable"}
HEAVY = {"torch", "prody", "sklearn"}
# layer -> third parties that it must not import, not even inside a function
FORBIDDEN = {
    "core": SCIPION - {"xmippLib"},
    "options": SCIPION | HEAVY | {"matplotlib", "numpy"},
    "cli": SCIPION,
    "app": SCIPION,
}
# layer -> third parties that it must not import when it is imported
NOT_AT_TOP = dict.fromkeys(("convert", "protocols", "viewers", "wizards"), HEAVY)
XMIPP_DOOR = "core/io/xmipp.py"  # the only module that may touch xmippLib


def modules():
    return sorted((ROOT / PACKAGE).rglob("*.py"))


def layer_of(path):
    relative = path.relative_to(ROOT / PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path):
    """Yield (dotted name, line, at top level) of every import, relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = [PACKAGE, *path.relative_to(ROOT / PACKAGE).parts[:-1]]
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        top = id(node) not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, top
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = [*base, *([node.module] if node.module else [])]
            for alias in node.names:
                yield ".".join([*prefix, alias.name]), node.lineno, top


def our_layer(name, allowed):
    """Layer of a dotted name of ours, down to the depth that the table speaks of; None for others."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return None
    if len(parts) == 1:
        return "__init__"
    for depth in (2, 1):
        found = ".".join(parts[1 : 1 + depth])
        if found in allowed:
            return found
    return parts[1]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT / PACKAGE)))
def test_layer(path):
    layer = layer_of(path)
    assert layer in ALLOWED, f"{path}: no rule for this place; add it to docs/architecture.md and to this test"
    relative = path.relative_to(ROOT / PACKAGE).as_posix()
    problems = []
    for name, line, top in imports_of(path):
        ours = our_layer(name, ALLOWED[layer])
        third_party = name.split(".")[0]
        if ours is not None and ours not in ALLOWED[layer]:
            problems.append(f"{relative}:{line}: {layer} must not import {name}")
        elif ours is None and third_party in FORBIDDEN.get(layer, ()):
            problems.append(f"{relative}:{line}: {layer} must not import {third_party}")
        elif ours is None and top and third_party in NOT_AT_TOP.get(layer, ()):
            problems.append(f"{relative}:{line}: {third_party} must be imported inside a function")
        elif third_party == "xmippLib" and relative != XMIPP_DOOR:
            problems.append(f"{relative}:{line}: xmippLib is used through {XMIPP_DOOR} only")
    assert not problems, "\n".join(problems)


def test_the_rule_sees_a_violation(tmp_path, monkeypatch):
    module = sys.modules[__name__]
    folder = tmp_path / PACKAGE / "core"
    folder.mkdir(parents=True)
    bad = folder / "bad.py"
    bad.write_text("def f():\n    from ..cli import main\n    import pwem\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    with pytest.raises(
        AssertionError, match=r"(?s)core must not import continuousflex_dl\.cli\.main.*must not import pwem"
    ):
        test_layer(bad)


BLOCKER = """
import sys
class Block:
    names = set({names!r})
    def find_spec(self, fullname, path=None, target=None):
        if fullname.split('.')[0] in self.names:
            raise ImportError('blocked: ' + fullname)
sys.meta_path.insert(0, Block())
"""


def run_python(code, *flags):
    return subprocess.run(
        [sys.executable, *flags, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def layer_modules(*layers):
    names = []
    for path in modules():
        if layer_of(path) in layers and path.name != "__main__.py":
            parts = [PACKAGE, *path.relative_to(ROOT / PACKAGE).with_suffix("").parts]
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def test_science_and_command_line_need_no_scipion():
    viewer = ["app"] if importlib.util.find_spec("flask") else []
    names = [PACKAGE, *layer_modules("core", "options", "cli", *viewer)]
    code = (
        BLOCKER.format(names=sorted(SCIPION))
        + "import importlib\n"
        + "\n".join(f"importlib.import_module({name!r})" for name in names)
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_package_and_options_need_no_heavy_library():
    names = [
        PACKAGE,
        *layer_modules("options"),
        f"{PACKAGE}.cli.main",
        f"{PACKAGE}.core.io.particles",
        f"{PACKAGE}.constants",
    ]
    code = (
        BLOCKER.format(names=sorted(SCIPION | HEAVY))
        + "import importlib\n"
        + "\n".join(f"importlib.import_module({name!r})" for name in names)
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def scipion_code(names):
    return "\n".join(
        [
            "from continuousflex_dl.tests.environment import prepare; prepare()",
            "import importlib",
            *(f"importlib.import_module({name!r})" for name in names),
        ]
    )


def test_scipion_side_needs_no_torch():
    pytest.importorskip("pyworkflow")
    names = [f"{PACKAGE}.Plugin"[: len(PACKAGE)], *layer_modules("convert", "protocols", "viewers", "wizards")]
    done = run_python(
        BLOCKER.format(names=sorted(HEAVY))
        + scipion_code(names)
        + "\nimport continuousflex_dl\ncontinuousflex_dl.Plugin"
    )
    assert done.returncode == 0, done.stderr


def test_scipion_side_loads_in_the_optimised_python_of_the_gui():
    pytest.importorskip("pyworkflow")
    names = [f"{PACKAGE}.{name}" for name in ("protocols", "viewers", "wizards", "bibtex")]
    done = run_python(scipion_code(names), "-O")
    assert done.returncode == 0, done.stderr
