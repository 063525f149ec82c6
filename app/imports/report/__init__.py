"""The user's own workbook back, with its mistakes marked."""
