"""The texts of the console in its two languages; that both have the same keys, the compiler demands."""

import re

import config

SOURCES = config.ROOT / "console/src"
STRING = r'"(?:[^"\\]|\\.)*"'
ENTRY = re.compile(rf"({STRING}|\w+): ({STRING})")
OBJECT = re.compile(rf"\{{(?:{STRING}|[^\"}}])*\}}")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def dictionaries() -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """Of each dictionary where it is, its English and its Chinese texts."""
    texts = []
    for path in sorted([*SOURCES.rglob("*.ts"), *SOURCES.rglob("*.svelte")]):
        for source in path.read_text(encoding="utf-8").split("= dictionary(")[1:]:
            english, chinese = OBJECT.findall(source)[:2]
            texts.append((str(path.relative_to(SOURCES)), texts_in(english), texts_in(chinese)))
    return texts


def texts_in(source: str) -> dict[str, str]:
    return {key.strip('"'): text[1:-1] for key, text in ENTRY.findall(source)}


def test_both_languages_have_the_same_texts_with_the_same_placeholders() -> None:
    all_texts = dictionaries()
    assert len(all_texts) > 20
    for place, english, chinese in all_texts:
        assert english.keys() == chinese.keys(), place
        for key, text in english.items():
            assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(chinese[key])), (place, key)


def test_english_has_two_forms_and_chinese_one() -> None:
    for place, english, chinese in dictionaries():
        for key, text in english.items():
            assert text.count("|") <= 1, (place, key)
            assert "|" not in chinese[key], (place, key)


def test_chinese_texts_are_chinese() -> None:
    untranslated = {"English"}
    for place, _, chinese in dictionaries():
        for key, text in chinese.items():
            is_word = re.search("[A-Za-z]{2}", PLACEHOLDER.sub("", text))
            assert CHINESE.search(text) or not is_word or text in untranslated, (place, key)
