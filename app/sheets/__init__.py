"""Spreadsheets as files. Knows no resource and nothing of the platform but values and errors.

- In: `workbook` (read_workbook, check_file) opens an upload, a workbook or delimited text; `package` checks its zip
  package, `sandbox` reads it in a child process with limits, `limits` has the refusals.
- Cells: `cells`, `dates` read what people write into them; `reserved_titles`.
- Out: `writers` (.xlsx and CSV, row by row); `marking` (a copy of an uploaded workbook with marks).
"""
