"""The report of an import: the user's own workbook with the errors of its plan marked."""
