"""Stage 2: find the tables of a workbook and decide which field each column fills."""
