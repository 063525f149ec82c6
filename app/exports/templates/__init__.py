"""Templates: an empty workbook for a resource, with an example row and drop-down lists."""
