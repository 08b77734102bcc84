"""Run the tests of the compiler and the layers on other versions of PyTorch and Python.

``make test-versions`` does so for the oldest PyTorch that pyproject.toml allows, for the newest
there is, and for Python 3.13 where it is installed. Each has a virtual environment of its own below
.venvs/, of several gigabytes where PyTorch comes with what a GPU needs.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ["tests/compiler", "tests/nn", "tests/layers", "tests/test_cell.py"]
NEEDED = ["pytest", "pytest-xdist", "hypothesis", "expecttest"]


def oldest() -> str:
    """``torch==2.13.*`` where pyproject.toml says ``torch>=2.13``."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bound = next(need for need in needs if need.startswith("torch>=")).removeprefix("torch>=")
    return f"torch=={bound}.*"


def run(name: str, python: str, torch: str) -> bool:
    """Whether all tests pass there."""
    folder = ROOT / ".venvs" / name
    inside = folder / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    install = [inside, "-m", "pip", "install", "--quiet", torch, "--editable", ROOT, *NEEDED]
    subprocess.run(install, check=True)
    report = "import sys, torch; print(sys.version.split()[0], torch.__version__)"
    subprocess.run([inside, "-c", report], check=True)
    tests = subprocess.run([inside, "-m", "pytest", "-n", "2", *TESTS], cwd=ROOT, check=False)
    return tests.returncode == 0


def main() -> int:
    """The number of environments in which a test failed."""
    places = [("oldest", sys.executable, oldest()), ("newest", sys.executable, "torch")]
    other = shutil.which("python3.13")
    if other and sys.version_info[:2] != (3, 13):
        places.append(("python3.13", other, "torch"))
    passed = {name: run(name, python, torch) for name, python, torch in places}
    for name, is_right in passed.items():
        print(f"{name}: {'passed' if is_right else 'FAILED'}")
    return sum(not is_right for is_right in passed.values())


if __name__ == "__main__":
    raise SystemExit(main())
