"""Downloads that a browser starts by itself: signed URLs that fetch one file, once, within a minute."""
