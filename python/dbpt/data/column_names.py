"""Which of a table's columns holds what: the roles ``path``, ``label``, ``split``, ``attribute`` and their names."""

from collections.abc import Mapping, Sequence

from dbpt.errors import InputError, nearest

REQUIRED = ("path", "label", "split")
ROLES = (*REQUIRED, "attribute")


def parse_columns(entries: Sequence[str], argument: str = "--columns") -> dict[str, str]:
    """``["path=file", "label=y"]`` as role to column name, checked as `check_columns` does.

    Raises:
        InputError: an entry that is not ROLE=NAME, or a role twice; names ``argument``.
    """
    columns: dict[str, str] = {}
    for entry in entries:
        role, equals, name = entry.partition("=")
        if not equals:
            raise InputError(
                f"{argument}: {entry!r} is not ROLE=NAME, for example 'label=y'; roles: {', '.join(ROLES)}"
            )
        if role.strip() in columns:
            raise InputError(f"{argument}: {role.strip()!r} is given twice; one column holds it")
        columns[role.strip()] = name.strip()
    check_columns(columns, argument)
    return columns


def check_columns(columns: Mapping[str, str], argument: str) -> None:
    """Refuse an unknown role, an empty name, and one column for two roles.

    Raises:
        InputError: naming ``argument`` and the entry.
    """
    owners: dict[str, str] = {}
    for role, name in columns.items():
        if role not in ROLES:
            raise InputError(f"{argument}: {role!r} is none of {', '.join(ROLES)}{nearest(role, list(ROLES))}")
        if not name:
            raise InputError(f"{argument}: {role} has no column name; write {role}=NAME")
        if name in owners:
            raise InputError(
                f"{argument}: column {name!r} is given for {owners[name]} and for {role}; each needs its own"
            )
        owners[name] = role
