"""The fenced blocks of the documents: where they are, in which language, and whether a test can execute them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import config

PAGES = sorted(
    [
        *config.ROOT.glob("*.md"),
        *config.ROOT.glob("docs/*.md"),
        config.ROOT / "console" / "README.md",
    ]
)
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
ATTRIBUTE = re.compile(r'(not-run|on)="([^"]+)"')


class Block(NamedTuple):
    page: str
    line: int
    language: str
    not_run: str
    """Why no test can execute it, as the block itself says: ```sh not-run="docker"."""
    on: str
    """On what it is executed, unless that is a copy of the program: ```sh on="debian"."""
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        language, _, attributes = fence["info"].partition(" ")
        attribute = ATTRIBUTE.fullmatch(attributes)
        if attributes and attribute is None:
            raise ValueError(f"{page.name}: nobody knows {attributes!r} after ```{language}.")
        named = {attribute[1]: attribute[2]} if attribute else {}
        yield Block(
            page=str(page.relative_to(config.ROOT)),
            line=text.count("\n", 0, fence.start()) + 1,
            language=language,
            not_run=named.get("not-run", ""),
            on=named.get("on", ""),
            text=re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE),
        )


ALL = [block for page in PAGES for block in blocks_of(page)]


def commands_of(*pages: str, on: str = "") -> list[Block]:
    """The blocks of commands that are executed, in the order of these pages."""
    shell_blocks = [block for block in ALL if block.language == "sh" and not block.not_run and block.on == on]
    return [block for page in pages for block in shell_blocks if block.page == page]
