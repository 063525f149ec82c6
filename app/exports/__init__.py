"""Exports: every resource as a workbook, CSV or JSON that can be imported again, and templates to fill in."""
