"""What processes of tests are forked from: all that a command imports, and the compiled templates of its pages."""

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
from blank_charts import leave_blank

import dbpt.cli
import dbpt.clip.load
import dbpt.commands.fit.saved_candidate
import dbpt.commands.trained_methods
import dbpt.runs.run_folder  # noqa: F401
from dbpt.report.text import _environment

leave_blank()
for name in _environment().list_templates():
    _environment().get_template(name)
