"""The pages of the documentation, their blocks and commands, and the scripts that write parts of them."""

import importlib.util
import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ROOT", "blocks", "command_lines", "read", "tomllib", "tool"]
ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks of a page, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


def command_lines(page: str) -> list[str]:
    text = "".join(text for _, text in blocks(page, "bash")).replace("\\\n", "")
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
