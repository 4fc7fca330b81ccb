"""The demos: three drawn data sets in the layouts of real ones, and a small CLIP that comes with the package.

Nothing here imports torch, and code outside this folder treats a demo like any other data set.
"""

import os
import subprocess
import sys
from pathlib import Path

from dbpt.arguments import available_cpus
from dbpt.data.demo.layouts import LAYOUTS, SPLIT_SIZES, Drawing, draw_pictures, plan_rows
from dbpt.data.paths import NOT_PUBLISHED
from dbpt.data.progress import progress_bar
from dbpt.errors import InputError, nearest
from dbpt.files.disk import check_can_create, system_errors
from dbpt.files.whole_folder import whole_folder

__all__ = ["DEMO_NAMES", "mini_clip_paths", "write_demo"]

DEMO_NAMES: tuple[str, ...] = tuple(LAYOUTS)
SHARED_FROM = 1000
"""So many pictures are drawn by two processes. Fewer take no longer than starting one."""
DRAW_HALF = """
import sys
from pathlib import Path
from dbpt.data.demo.layouts import draw_pictures, plan_rows
name, folder, seed, *sizes = sys.argv[1:]
draw_pictures(name, Path(folder), plan_rows(name, int(seed), tuple(map(int, sizes)))[1::2], int(seed))
"""


def mini_clip_paths() -> tuple[Path, Path]:
    """Return the paths of the small CLIP's open_clip config (JSON) and its float16 weights (safetensors)."""
    folder = Path(__file__).parent
    return folder / "mini_clip.json", folder / "mini_clip.safetensors"


def write_demo(name: str, directory: str | Path, *, seed: int = 0) -> Path:
    """Draw a demo data set into a new folder, in the layout of the data set it is named after, and return the folder.

    It has 2,400 training, 600 validation and 1,200 test images of 64x64 pixels. ``name`` is "demo-waterbirds",
    "demo-celeba" or "demo-metashift". ``directory`` must not exist, or be empty; it never contains a partial data set.
    The same ``seed`` draws the same bytes (with one version of Pillow). Raises `InputError`.
    """
    return _write(name, Path(directory), seed, SPLIT_SIZES)


def _write(name: str, final: Path, seed: int, sizes: tuple[int, int, int]) -> Path:
    if name not in LAYOUTS:
        hint = nearest(name, list(DEMO_NAMES)) or f" (valid: {', '.join(DEMO_NAMES)})"
        raise InputError(f"demo name: unknown value {name!r}{hint}")
    if seed < 0:
        raise InputError(f"--seed is {seed}; expected an integer, 0 or above")
    _check_folder(final)
    final = final.absolute()
    with system_errors(f"{final}: cannot write the demo data set"), whole_folder(final) as folder:
        rows = plan_rows(name, seed, sizes)
        (folder / NOT_PUBLISHED).write_text(f"Drawn by `dbpt demo {name}`, in the layout of the published data.\n")
        _draw(name, folder, rows, seed, sizes)
        LAYOUTS[name].write_tables(folder, final, rows, seed)
        if os.path.lexists(final):
            final.rmdir()
    return final


def _draw(name: str, folder: Path, rows: list[Drawing], seed: int, sizes: tuple[int, int, int]) -> None:
    """Draw all pictures, half of them in another process if there are many. The bytes are the same."""
    helper = None
    if len(rows) >= SHARED_FROM and available_cpus() > 1 and sys.executable:
        # With the folder as its working directory, no file of the user's can take the place of a module.
        command = [sys.executable, "-c", DRAW_HALF, name, str(folder), str(seed), *map(str, sizes)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        null = subprocess.DEVNULL
        helper = subprocess.Popen(command, cwd=folder, env=environment, stdin=null, stdout=null, stderr=null)
    try:
        own = rows if helper is None else rows[::2]
        draw_pictures(name, folder, progress_bar(f"drawing {name}", "img", own), seed)
        if helper is not None and helper.wait() != 0:
            draw_pictures(name, folder, rows[1::2], seed)  # here an error has a message
    finally:
        if helper is not None:
            helper.kill()
            helper.wait()


def _check_folder(folder: Path) -> None:
    """Refuse everything except a new or empty folder; also links to one."""
    if not os.path.lexists(folder):
        check_can_create(folder, option="folder")
        return
    with system_errors(f"{folder}: cannot be read", "name a new folder"):
        is_free = not folder.is_symlink() and folder.is_dir() and not any(folder.iterdir())
    if not is_free:
        raise InputError(f"{folder}: exists and is not an empty folder; name a new one or remove it first")
