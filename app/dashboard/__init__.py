"""The first page of a front end: totals, breakdowns, and what needs attention."""
