"""How spreadsheets name columns, and the columns that are ours."""

STATUS = "_import"
"""The title of the column in which a report says what becomes of a row, and an operator that it is left out."""
EXAMPLE = "example"
LEAVES_OUT = frozenset({EXAMPLE, "skip", "示例", "跳过"})
"""What it says of a row that is left out."""


def letters(index: int) -> str:
    """The spreadsheet's name of a column, counted from 0: A, B, … Z, AA."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def column_index(name: str) -> int:
    """The number of a column from 0, given its letters."""
    number = 0
    for letter in name:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
