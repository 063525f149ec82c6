"""The web console: a client of the API, built from `console/` into `static`, and served at every other address."""
