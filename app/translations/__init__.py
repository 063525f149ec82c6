"""The catalogues of messages in other languages than English, in the formats of gettext."""
