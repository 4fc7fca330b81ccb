"""Python code that lets a process import nothing but the standard library and the packages named."""

BLOCKED = """
import sys

class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top[0] != "_" and top not in (*sys.stdlib_module_names, *{allowed}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Only())
"""
