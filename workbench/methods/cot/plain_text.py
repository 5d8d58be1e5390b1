"""Answers without what does not change them: markup, LaTeX, quotes, the ways of writing one sign."""

from __future__ import annotations

import re
import unicodedata

SIGNS = str.maketrans({"−": "-", "⁄": "/", "’": "'", "‘": "'", "“": '"', "”": '"', "º": "°", "×": "*", "·": "*"})

PAIRS = (("**", "**"), ("__", "__"), ("`", "`"), ('"', '"'), ("'", "'"), ("«", "»"), ("(", ")"), ("*", "*"), ("_", "_"))
"""What an answer as a whole may stand between and be the same answer."""

NOT_ARTICLES = ("major", "minor", "flat", "sharp", "level", "is", "or", "and", "to", "in", "of", "has", "does")
"""Words before which a large A is a name and no article."""

INITIALS = re.compile(
    r"\b(?:[^\W\d_]\.\s?){2,}(?=\W|$|[^\W\d_]{2})|\b(?:[A-Z]\.)+[A-Z]\b(?!\.?\w)|\b(?:e\.g|i\.e|[ap]\.m)\b"
)
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
NAMES = ("US", "WHO", "IT")
"""What is a word in small letters, and a name in capital ones."""

SUPERSCRIPT = re.compile("[⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
SUBSCRIPT = re.compile("(?<=[0-9])[₀₁₂₃₄₅₆₇₈₉]+")
VULGAR = re.compile("([0-9]?)([¼-¾⅐-⅞])")
FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
LATEX = ((r"\$\$(.+)\$\$", r"\1"), (r"\$(.*\S)\$", r"\1"), (r"\\\((.+)\\\)", r"\1"), (r"\\\[(.+)\\\]", r"\1"))
COMMANDS = (
    (r"\\(?:boxed|text|textbf|mathrm|mathbf|mbox)\{([^{}]*)\}", r"\1"),
    (r"\\(?:times|cdot)(?![A-Za-z])\s*", "*"),
    (r"\\(?:left|right)(?![A-Za-z])", ""),
    (r"\\[,;:!]|\\quad(?![A-Za-z])|(?<=\S)~(?=\S)", " "),
    (r"\\([$%#&_])", r"\1"),
    (r"\^\{(-?\w+)\}", r"^\1"),
    (r"\^\s*\\circ|\\degree(?![A-Za-z])", "°"),
    (r"(?<=\d)\{,\}(?=\d)", ","),
)


def plain(text: str) -> str:
    """One line with single blanks, its signs in one form of Unicode, without LaTeX's delimiters and commands."""
    text = VULGAR.sub(lambda m: f"{m[1]} {m[2]}" if m[1] else m[2], text)
    text = SUPERSCRIPT.sub(lambda m: "^" + unicodedata.normalize("NFKC", m[0]).replace("−", "-"), text)
    text = SUBSCRIPT.sub(lambda m: "_" + unicodedata.normalize("NFKC", m[0]), text)
    text = unicodedata.normalize("NFKC", text).translate(SIGNS)
    text = " ".join(text.split())
    if "\\" in text or text.count("$") > 1:
        text = _without_latex(text)
    return re.sub(r"(?<![\w–-])–(?=\d)", "-", text)


def unwrapped(text: str) -> str:
    """Without quotes, emphasis and brackets around all of it, and the signs that end a sentence."""
    before = None
    while text != before:
        before = text
        for left, right in PAIRS:
            inner = text[len(left) : len(text) - len(right)]
            whole = text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right)
            if whole and left not in inner and right not in inner and inner.strip():
                text = inner.strip()
        text = _without_end(text)
    return re.sub(r"^(?:[*•-] )(?=[^\W\d]{2})", "", text)


def wording(text: str) -> str:
    """A text as it is compared by its words: no leading article, no stops of abbreviations, small letters."""
    text = re.sub(r"^([^\W\d_])\)$", r"\1", unwrapped(plain(text)))
    text = re.sub(r"(?<!\w)([1-9]|1[0-2])(?:st|nd|rd|th)\b", lambda m: ORDINALS.split()[int(m[1]) - 1], text)
    text = re.sub(r"(?<!\w)(\*\*|__|\*|`)(\w(?:.*?\w)?)\1(?!\w)", r"\2", text)
    text = re.sub(INITIALS, lambda m: _joined(m[0]), text)
    text = re.sub(r"(?<=[^\W\d_])\.(?=\s|$)", "", text)
    text = re.sub(r"(?<=[^\W\d_]),(?=\s)", "", text)
    text = re.sub(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})", " ", text)
    article = re.match(r"(?:(?:[Tt]he|THE|[Aa]n|a) |A (?=[a-z]{2}))(?=\w)", text)
    if article and not (article[0] == "A " and text[2:].split(" ")[0] in NOT_ARTICLES):
        text = text[article.end() :]
    # Small letters, but in what is written with a digit: 5 mW and 5 MW are two.
    words = text.split()
    digits = [any(letter.isdigit() for letter in word) for word in words]
    loud = any(len(word) > 3 and word.isupper() for word in words)
    after = [i > 0 and digits[i - 1] and len(words[i]) <= 3 for i in range(len(words))]
    cased = [
        word
        if (near and word.lower() not in ("am", "pm", "ad", "bc", "and", "or", "to")) or (word in NAMES and not loud)
        else word.casefold()
        for word, near in zip(words, after, strict=True)
    ]
    return " ".join(cased)


def _joined(initials: str) -> str:
    """J.K. as JK, with the blank after it."""
    letters = re.sub(r"[.\s]", "", initials)
    return letters + (" " if initials[-1].isspace() else "")


def _without_end(text: str) -> str:
    """Without the last signs, but for what is nothing else, a factorial (5!, n!) and the like."""
    shorter = re.sub(r"(?:(?<![\d)\s])!|(?<![.?!;:,\s])[.?;:,]+|\?!|!{2,})$", "", text).rstrip()
    if re.fullmatch(r"\w!|.*\W\w!", text):
        return text
    return shorter or text


def _without_latex(text: str) -> str:
    before = None
    while text != before:
        before = text
        for pattern, inner in LATEX:
            if re.fullmatch(pattern + r"[.,;:]?", text):
                text = re.sub(pattern, inner, text)
        text = FRACTION.sub(lambda m: _over(m[1] or m[2] or "", m[3] or m[4] or ""), text)
        for pattern, instead in COMMANDS:
            text = re.sub(pattern, instead, text)
    return " ".join(text.split())


def _over(above: str, below: str) -> str:
    above, below = above.strip(), below.strip()
    return f"{above}/{below}" if re.fullmatch(r"\d+/\d+", f"{above}/{below}") else f"({above})/({below})"
