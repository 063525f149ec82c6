"""Stage 1, map: from the sheets of a workbook to tables, each with its resource and what its columns fill.

In: `Workbook` and `MapOptions`. Out: `Table` with `ColumnMapping`, by `tables.find_tables`.
"""
