"""The one exception that means "your input is wrong", as opposed to a bug of ours."""


class InputError(ValueError):
    """Bad input from the user: one line that names the file, row, argument or setting, the value, and the way out.

    The command line prints the message without a traceback and exits with code 2.
    """


def nearest(word: str, valid: "list[str]") -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest valid name, or an empty string if none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, valid, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
