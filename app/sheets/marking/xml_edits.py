"""Byte-exact edits of an XML part: expat finds the positions, only new bytes are written.

expat and not regular expressions, which comments, CDATA sections and namespace prefixes would mislead.
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
    """The workbook has something that cannot be edited in place; the message says what."""


@dataclass(slots=True)
class Edits:
    """Replacements and insertions by byte position; insertions at one position keep their order."""

    content: bytes
    _edits: list[tuple[int, int, bytes]] = field(default_factory=list)

    def replace(self, start: int, end: int, new: bytes) -> None:
        self._edits.append((start, end, new))

    def insert(self, at: int, new: bytes) -> None:
        self._edits.append((at, at, new))

    def append(self, element: "Element", new: bytes) -> None:
        """Insert at the end of an element's content."""
        if element.close is not None:
            self.insert(element.close, new)
        else:
            tag = self.content[element.start : element.end]
            self.replace(element.start, element.end, tag[:-2] + b">" + new + f"</{element.tag}>".encode())

    def result(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The edited content from beginning to end, in pieces, so that it need not be in memory twice."""
        at = 0
        for start, end, new in sorted(self._edits, key=lambda edit: edit[:2]):
            if start < at:
                raise NotEditable("Two edits overlap.")
            yield self.content[at:start]
            yield new
            at = end
        yield self.content[at:]


@dataclass(slots=True)
class Element:
    """An element and its byte positions; `close` is the start of its end tag, None if it is `<self-closed/>`."""

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
        """Its namespace prefix, `x:` or nothing; added children get the same."""
        return self.tag[: -len(self.name)]

    def child(self, name: str) -> "Element | None":
        return next((child for child in self.children if child.name == name), None)

    def required_child(self, name: str) -> "Element":
        """The child of this name; raises NotEditable if there is none."""
        child = self.child(name)
        if child is None:
            raise NotEditable(f"Element {self.tag} has no {name}.")
        return child


def outline(content: bytes, namespace: str | None) -> Element:
    """Parse a part into elements with positions; checks the namespace of the root if given. Raises NotEditable."""
    above: list[Element] = []
    roots: list[Element] = []

    def start(tag: str, attributes: Attributes) -> None:
        at = parser.CurrentByteIndex
        element = Element(tag, attributes, at, tag_end(content, at))
        (above[-1].children if above else roots).append(element)
        above.append(element)

    def end(_tag: str) -> None:
        element = above.pop()
        element.close, element.end = end_tag(content, element.open_end, parser.CurrentByteIndex)

    parser = parser_of(start, end)
    parse(parser, content)
    (root,) = roots
    if namespace is not None:
        require_namespace(root.tag, root.attributes, namespace)
    return root


def parser_of(start: Callable[[str, Attributes], None], end: Callable[[str], None]) -> Any:
    """An expat parser that reports elements by their prefixed names, and refuses document types."""
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
    raise NotEditable("A part declares a document type, which may hide entities.")


def _check_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if (encoding and encoding.lower()) not in _ENCODINGS:
        raise NotEditable(f"A part has the encoding {encoding}.")


def require_namespace(tag: str, attributes: Attributes, namespace: str) -> None:
    prefix, colon, _ = tag.rpartition(":")
    if attributes.get(f"xmlns{colon}{prefix}") != namespace:
        raise NotEditable(f"Element {tag} is not in the namespace {namespace}.")


def tag_end(content: bytes, start: int) -> int:
    """The end of the tag that begins at a position."""
    tag = _TAG.match(content, start)
    if tag is None:
        raise NotEditable(f"There is no tag at byte {start}.")
    return tag.end()


def end_tag(content: bytes, open_end: int, position: int) -> tuple[int | None, int]:
    """Start and end of an element's end tag, given the end of its start tag and the position that expat reports.

    For `<self-closed/>` expat reports an end tag too; its start is None.
    """
    if content[open_end - 2] == ord("/"):
        return None, open_end
    return position, content.index(b">", position) + 1


def with_attributes(tag: bytes, **values: str | None) -> bytes:
    """A start tag with these attributes set; an attribute that is None is removed."""
    for name, value in values.items():
        tag = re.sub(rb"\s%s\s*=\s*(?:\"[^\"]*\"|'[^']*')" % name.encode(), b"", tag)
        if value is not None:
            end = len(tag) - (2 if tag.endswith(b"/>") else 1)
            tag = tag[:end].rstrip() + f" {name}={quoteattr(value)}".encode() + tag[end:]
    return tag


def as_xml(text: str) -> str:
    """Text as the content of an element; characters that XML does not allow become U+FFFD."""
    return escape(_ILLEGAL.sub("\ufffd", text), {"\r": "&#13;"})


def element(tag: str, attributes: Iterable[tuple[str, str]], content: str = "") -> bytes:
    """A new element; `content` is XML."""
    written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes)
    xml = f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"
    # Valid in each encoding that a part may have.
    return xml.encode("ascii", "xmlcharrefreplace")
