"""Run the notebooks in docs/notebooks, or those that are named, and write their output into them.

Usage: python tools/run_notebooks.py [NOTEBOOK...]. Unlike `jupyter execute`, this leaves out times and versions.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def main():
    for path in map(Path, sys.argv[1:] or sorted(NOTEBOOKS.glob("*.ipynb"))):
        notebook = nbformat.read(path, as_version=4)
        place = {"metadata": {"path": str(path.parent)}}
        options = {"record_timing": False, "coalesce_streams": True, "resources": place}
        NotebookClient(notebook, kernel_name="python3", **options).execute()
        notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(notebook, path)
        print(path.name, flush=True)


if __name__ == "__main__":
    main()
