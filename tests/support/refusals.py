"""What a call is refused with."""

import pytest

from dbpt.errors import InputError


def line_of(call, *arguments, **options) -> str:
    """The line of the `InputError` that the call raises."""
    with pytest.raises(InputError) as error:
        call(*arguments, **options)
    line = str(error.value)
    assert "\n" not in line
    return line
