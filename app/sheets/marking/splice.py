"""Edits of an XML part that leave every other byte of it as it is.

Places are found by a parser (expat, which knows prefixes, comments and CDATA); nothing is written but what is new.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Never
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

_TAG = re.compile(rb"<(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>")
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENCODINGS = frozenset({None, "utf-8", "us-ascii"})

Attributes = dict[str, str]


class NotEditable(Exception):
    """Something stands in the workbook that only a library could write anew."""


@dataclass(slots=True)
class Edits:
    """New bytes for places of a content; of several at one place the earlier stand first."""

    content: bytes
    _made: list[tuple[int, int, bytes]] = field(default_factory=list)

    def replace(self, start: int, end: int, new: bytes) -> None:
        self._made.append((start, end, new))

    def insert(self, at: int, new: bytes) -> None:
        self._made.append((at, at, new))

    def append(self, element: "Element", new: bytes) -> None:
        """Put something at the end of an element's content."""
        if element.close is not None:
            self.insert(element.close, new)
        else:
            tag = self.content[element.start : element.end]
            self.replace(element.start, element.end, tag[:-2] + b">" + new + f"</{element.tag}>".encode())

    def result(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The content as it is now, from its beginning to its end."""
        at = 0
        for start, end, new in sorted(self._made, key=lambda edit: edit[:2]):
            if start < at:
                raise NotEditable("Two edits of one place.")
            yield self.content[at:start]
            yield new
            at = end
        yield self.content[at:]


@dataclass(slots=True)
class Element:
    """An element and where it stands; `close` is where its end tag begins, None if it has none."""

    tag: str
    attributes: Attributes
    start: int
    open_end: int
    close: int | None = None
    end: int = 0
    children: list["Element"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.tag.rpartition(":")[2]

    @property
    def prefix(self) -> str:
        """What its name begins with, `x:` or nothing: children that are added have the same."""
        return self.tag[: -len(self.name)]

    def child(self, name: str) -> "Element | None":
        return next((child for child in self.children if child.name == name), None)

    def needed(self, name: str) -> "Element":
        """A child; raises NotEditable where it has none of this name."""
        found = self.child(name)
        if found is None:
            raise NotEditable(f"There is no {name}.")
        return found


def outline(content: bytes, namespace: str | None) -> Element:
    """The elements of a part, whose root must be of this namespace if one is given. Raises NotEditable."""
    above: list[Element] = []
    roots: list[Element] = []

    def start(tag: str, attributes: Attributes) -> None:
        at = parser.CurrentByteIndex
        element = Element(tag, attributes, at, tag_end(content, at))
        (above[-1].children if above else roots).append(element)
        above.append(element)

    def end(_tag: str) -> None:
        element = above.pop()
        element.close, element.end = closed(content, element.open_end, parser.CurrentByteIndex)

    parser = parser_of(start, end)
    parse(parser, content)
    (root,) = roots
    if namespace is not None:
        require_namespace(root.tag, root.attributes, namespace)
    return root


def parser_of(start: Callable[[str, Attributes], None], end: Callable[[str], None]) -> Any:
    """A parser that tells of elements by their names as they are written."""
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = _refuse
    parser.XmlDeclHandler = _check_encoding
    return parser


def parse(parser: Any, content: bytes) -> None:
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise NotEditable(str(error)) from error


def _refuse(*_: Any) -> Never:
    raise NotEditable("A document type may hide entities.")


def _check_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if (encoding and encoding.lower()) not in _ENCODINGS:
        raise NotEditable(f"The encoding is {encoding}.")


def require_namespace(tag: str, attributes: Attributes, namespace: str) -> None:
    prefix, colon, _ = tag.rpartition(":")
    if attributes.get(f"xmlns{colon}{prefix}") != namespace:
        raise NotEditable(f"{tag} is not of {namespace}.")


def tag_end(content: bytes, start: int) -> int:
    """Where the tag ends that begins at a place."""
    found = _TAG.match(content, start)
    if found is None:
        raise NotEditable("There is no tag.")
    return found.end()


def closed(content: bytes, open_end: int, told: int) -> tuple[int | None, int]:
    """Where the end tag of an element begins and ends, given where its start tag ends and what the parser says."""
    if content[open_end - 2] == ord("/"):
        return None, open_end
    return told, content.index(b">", told) + 1


def with_attributes(tag: bytes, **values: str | None) -> bytes:
    """A start tag with these attributes; those that are None it loses."""
    for name, value in values.items():
        tag = re.sub(rb"\s%s\s*=\s*(?:\"[^\"]*\"|'[^']*')" % name.encode(), b"", tag)
        if value is not None:
            end = len(tag) - (2 if tag.endswith(b"/>") else 1)
            tag = tag[:end].rstrip() + f" {name}={quoteattr(value)}".encode() + tag[end:]
    return tag


def as_xml(text: str) -> str:
    """A text as the content of an element, without the characters that no XML may hold."""
    return escape(_ILLEGAL.sub("\ufffd", text), {"\r": "&#13;"})


def element(tag: str, attributes: Iterable[tuple[str, str]], content: str = "") -> bytes:
    """A new element; its content is XML."""
    said = "".join(f" {name}={quoteattr(value)}" for name, value in attributes)
    made = f"<{tag}{said}>{content}</{tag}>" if content else f"<{tag}{said}/>"
    # Right in each of the encodings that a part may have.
    return made.encode("ascii", "xmlcharrefreplace")
