"""`dbpt.group_metrics` in short, for the many small calls of the tests."""

import dbpt


def group_metrics(predictions, labels, attributes, **options):
    return dbpt.group_metrics(predictions=predictions, labels=labels, attributes=attributes, **options)
