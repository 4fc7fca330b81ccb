"""The values of typed tables (JSON, Parquet) as the text that a CSV would have for them."""

import math


def cell_text(value: object) -> str | None:
    """Text as it is, integers in decimal, true and false as 1 and 0, null and NaN as nothing; None for what is no cell.

    No cell are lists, objects and bytes, infinite numbers, and text that no file name or report could hold (a NUL, half
    of a surrogate pair).
    """
    if isinstance(value, str):
        return value if value.isprintable() or _is_storable(value) else None
    if value is None:
        return ""
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and not math.isinf(value):
        return "" if math.isnan(value) else repr(value)
    return None


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
