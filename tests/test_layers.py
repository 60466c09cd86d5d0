"""Imports point down: who imports what, from the face of the package to its plain nouns."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "automm"
LAYERS = """
__init__ __main__
autotrainer commands
config flow
finals
explain members refit runoff uncertainty
problem
preflight result report run_dir
export
search
ensemble training
building
model
blame
encoders fusions tasks
data
extremes
sections
metrics
runtime
field_encoders
choices
narrowing
option_types
presets registry settings
hydra_names trial
space paths offline
types errors
"""  # one line a layer: what may import those below it, and its own package
DEPTH = {name: depth for depth, line in enumerate(LAYERS.split("\n")) for name in line.split()}
FREE = {"testing"}  # checks everything; nothing in the package imports it


def imports(node):
    """The modules of automm that run when `node` does; what only a type checker reads is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and child.module == "automm":
            yield from (alias.name for alias in child.names if not alias.name.startswith("__"))
        elif isinstance(child, ast.ImportFrom) and (child.module or "").startswith("automm."):
            yield child.module.split(".")[1]
        elif isinstance(child, ast.Import):
            yield from (a.name.split(".")[1] for a in child.names if a.name.startswith("automm."))
        yield from imports(child)


def test_imports_point_down():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        home = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if home in FREE:
            continue
        if home not in DEPTH:
            wrong.append(f"automm.{home} has no place: give it one in LAYERS, above all that it imports")
            continue
        for name in set(imports(ast.parse(path.read_text()))) - {home}:
            if DEPTH.get(name, -1) <= DEPTH[home]:
                wrong.append(f"{path.relative_to(ROOT)} imports automm.{name}, which is not below automm.{home}")
    assert not wrong, "\n".join(wrong)
