"""A process in which only some packages exist, as where automm was installed without its extras."""

import subprocess
import sys

SERVING = ("numpy", "onnxruntime", "PIL", "tokenizers")
BASE = (*SERVING, "hydra", "hydra_plugins", "omegaconf", "yaml", "_yaml", "antlr4", "packaging")  # and what Hydra needs
_BLOCK = """
import sys

ALLOWED = set(sys.stdlib_module_names) | {"automm", *%r}


class OnlyThese:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r} (forbidden here)", name=name)


sys.meta_path.insert(0, OnlyThese())
"""


def with_only(packages, code, *arguments, cwd=None):
    """Run Python code where nothing but the standard library, automm and `packages` can be imported."""
    command = [sys.executable, "-W", "error", "-c", _BLOCK % (packages,) + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
