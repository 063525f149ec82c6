"""From a query string to a page: filters, search, sort, cursor, point-in-time reads."""
