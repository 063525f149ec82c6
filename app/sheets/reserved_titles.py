"""Titles of the columns and sheets that exports, templates and reports write, and imports read back."""

IDENTITY = "_id"
VERSION = "_version"
INSTALLATION = "_installation"
"""Whose ids and versions the rows of an export have."""
STATUS = "_import"
"""A report writes what happens to each row here; an operator writes here that a row is skipped."""
LISTS = "_lists"
"""The hidden sheet of a template with the entries of its drop-down lists."""
ATTRIBUTE_PREFIX = "attributes."
"""Prefix of the title of an attribute, so that an attribute is not read as a field of the same name."""

EXAMPLE = "example"
SKIPPED = frozenset({EXAMPLE, "skip", "示例", "跳过"})
"""Values of the status column that exclude a row from the import."""
