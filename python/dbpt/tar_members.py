"""The old place of `dbpt.archives.find_member`, from which features/ still imports it."""

from dbpt.archives import find_member

__all__ = ["find_member"]
