"""Mark cells and rows in a user's own workbook and leave everything else as it is."""
