"""Mark cells and rows of a user's own workbook, and leave everything else in it byte for byte as it is.

What a mark is: the cell is filled with a colour and has a comment; each marked row has a status in a column of its own,
the first one behind all values, or the one that the workbook has for it.

- `marks`: the types `SheetMarks`, `RowMarks`, `Mark`, with which the caller says what to mark.
- `in_place.mark_in_place()`: write a copy of the workbook with its marks. Runs in the sandbox, since the file may be
  hostile. Raises `UnreadableWorkbook`, with the reason `not_editable` if the workbook is one of those listed below.
- `plain.write_plain()`: the fallback. A new workbook with the same values and marks, without the user's formats; also
  for delimited text.

How it is done: expat finds the byte positions of elements (`sheet_scanner`, `xml_edits`), new bytes are put between the
old ones (`sheet_editor`, `style_editor`, `comment_editor`), and the zip package is written with the changed parts, all
others copied (`package_editor`). No part is parsed into a tree and written back: that loses what the library does not
know (openpyxl: shapes, slicers, threaded comments), and takes four times as long.

What of ECMA-376 (Office Open XML, transitional) it relies on:

- Part 2: a package is a zip file; `[Content_Types].xml` declares the type of each part by name (Override) or extension
  (Default); the relationships of `a/b.xml` are in `a/_rels/b.xml.rels`.
- Part 1, 18.3 (sheets): `row` and `c` are in ascending order; without `r` they count on from the one before; `s` is an
  index into `cellXfs`; with `t="inlineStr"` a cell holds its text itself, so the shared strings stay as they are;
  `dimension` and `spans` are hints; `legacyDrawing` has one place among the elements behind `sheetData`.
- Part 1, 18.8 (styles): a format in `cellXfs` names its fill by index, so a marked cell gets a copy of its own format
  with another fill. `fills` and `cellXfs` carry a `count`.
- Part 1, 18.7 (comments): a comment is an entry in the comments part, and a VML shape (Part 4, 19.1) that shows it.
  Shape ids are unique in the workbook, in blocks of 1,024 that a drawing reserves in `o:idmap`.

What it refuses (`NotEditable`), because the result could be wrong:

- macros and signatures (the copy would not be what was signed, and must not run code under the name .xlsx);
- threaded comments, and comments with phonetic text;
- parts that are not well-formed, have a document type, or another encoding than UTF-8 or ASCII;
- other namespaces than the transitional ones ("strict" workbooks);
- two rows with one number, a row to mark that is not there, or that has no cells;
- a status column whose cells are computed; a sheet that is full up to its last column;
- a merged area of more than 16,384 cells; more than 64,000 formats; a workbook without styles.
"""
