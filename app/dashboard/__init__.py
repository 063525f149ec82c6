"""The first page: how much there is of everything, and what needs somebody's attention."""
