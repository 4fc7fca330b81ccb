"""Build the wheel and the source distribution, and the wheel again from the latter: same bytes, right files, small.

Then use the wheel in an environment with NumPy alone.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_WHEEL_BYTES = 12_000_000
IN_WHEEL = {
    "dbpt/_core.pyi",
    "dbpt/py.typed",
    "dbpt/data/demo/mini_clip.json",
    "dbpt/data/demo/mini_clip.safetensors",
    "dbpt/report/templates/sections/headline.html.j2",
    "dbpt/report/templates/style.css",
}
IN_SDIST = {"Cargo.lock", "Cargo.toml", "LICENSE", "LICENSE-THIRD-PARTY.md", "README.md", "pyproject.toml", ".ci/run"}
SBOM = "sbom/dbpt-core.cdx.json"
JUNK = (".so", ".pyd", ".pyc", ".cache")


def build(source: Path, out: Path) -> Path:
    """The wheel of a source tree or archive, as pip builds it."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", out, source], check=True)
    return next(out.glob("*.whl"))


def build_sdist(out: Path) -> Path:
    """The source distribution of this tree."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "build"], check=True)
    subprocess.run([sys.executable, "-m", "build", "--sdist", "--outdir", out, ROOT], check=True, stdout=sys.stderr)
    return next(out.glob("*.tar.gz"))


def check_sdist(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = (
        IN_SDIST
        | {SBOM}
        | {
            path.relative_to(ROOT).as_posix()
            for folder in (".github", "docs", "examples", "python", "rust", "sbom", "tests")
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and not path.name.endswith(JUNK) and "_build" not in path.parts
        }
    )
    assert not expected - names, f"missing in the source distribution: {sorted(expected - names)}"
    junk = sorted(name for name in names if name.endswith(JUNK) or name.startswith("runs/"))
    assert not junk, f"junk in the source distribution: {junk}"


def check_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert not IN_WHEEL - names, f"missing in the wheel: {sorted(IN_WHEEL - names)}"
    extensions = [name for name in names if name.startswith("dbpt/_core.") and not name.endswith(".pyi")]
    assert len(extensions) == 1, f"extensions in the wheel: {extensions}"
    licences = [name for name in names if "/licenses/LICENSE" in name]
    assert len(licences) == 2, f"licences in the wheel: {licences}"
    assert any(name.endswith(f".dist-info/{SBOM.replace('sbom/', 'sboms/')}") for name in names), "no SBOM in the wheel"
    size = wheel.stat().st_size
    assert size <= MAX_WHEEL_BYTES, f"the wheel has {size} bytes, more than {MAX_WHEEL_BYTES}"


def check_light_use(wheel: Path, folder: Path) -> None:
    """Samplers, group weights, metrics and guesses run with three packages, and `dbpt.environment` reports."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", "msgspec", "scipy"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    for arguments in ([ROOT / "tests/support/light_use.py"], ["-m", "dbpt.environment"]):
        subprocess.run([python, *arguments], check=True, cwd=folder)


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        sdist, wheel = build_sdist(folder), build(ROOT, folder / "tree")
        check_sdist(sdist)
        check_wheel(wheel)
        again = build(sdist, folder / "sdist")
        assert again.name == wheel.name, f"{again.name} from the source distribution, {wheel.name} from the tree"
        assert again.read_bytes() == wheel.read_bytes(), "the wheel built from the source distribution differs"
        check_light_use(wheel, folder / "light")
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, the same from {sdist.name}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
