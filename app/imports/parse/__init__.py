"""Stage 2, parse: from the cells of a table to values of fields, with the errors and warnings of the cells.

In: `Table`. Out: `ParsedTable` with `ParsedRow`, by `row_parser.parse_table`. The database is not asked.
"""
