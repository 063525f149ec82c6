"""Objects out: every resource as a workbook, as CSV or as JSON, in a form that can be imported again."""
