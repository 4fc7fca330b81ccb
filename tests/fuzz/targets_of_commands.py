"""Targets: what stands on a command line."""

import os

import click
from fuzz_target import Parse, Workplace, target
from PIL import Image

from dbpt.cli.click_group import commands
from dbpt.errors import InputError


@target()
def data_check_arguments(workplace: Workplace) -> Parse:
    """A line an argument, behind ``dbpt data check TABLE``."""
    table = workplace.folder / "rows.csv"
    table.write_text("path,label,split,place\na.png,0,train,in\nb.png,1,train,out\n")
    for name in ("a.png", "b.png"):
        Image.new("RGB", (2, 2)).save(workplace.folder / name)

    def parse(content: bytes) -> None:
        arguments = [os.fsdecode(line) for line in content.replace(b"\0", b"").split(b"\n")]
        try:
            commands.main(["data", "check", str(table), *arguments], prog_name="dbpt", standalone_mode=False)
        except click.ClickException as error:  # of usage, which `main` says in one line
            raise InputError(error.format_message()) from None

    return parse
