"""What the tests of tables share: how rows and vocabularies are written, and that a refusal is one line."""

import pytest

from dbpt.data import load_dataset
from dbpt.errors import InputError


def refused(data, *args, **options):
    with pytest.raises(InputError) as error:
        load_dataset(data, *args, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def rows(*lines, header="path,label,split"):
    return "\n".join((header, *lines)) + "\n"


def vocabulary(*names):
    return {name: (name,) for name in names}
