"""Imports of spreadsheets. A row travels: app.sheets (read) → map → parse → plan → apply, called by `pipeline`.

`revert` undoes an applied import, `report` marks the user's workbook with what the plan says.
"""
