"""Numbers as they are written in answers, with what they count or measure.

Each is exact. A spelling that people read in two ways (5,6) is no number here, unless a unit settles it (5,6 km).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
MAGNITUDES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
WORDS = {word: n for n, word in enumerate(ONES.split())} | {word: 10 * n for n, word in enumerate(TENS.split(), 2)}

WHOLE = r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d{1,3}(?:[ ']\d{3})+(?!\d)|\d+"
DECIMAL = rf"(?:(?:{WHOLE})(?:\.\d+)?|\.\d+)"
GERMAN = r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}\.\d{3},\d+"
POWER = r"\d+(?:\.\d+)?(?:\^|\*\*)[+-]?\d+"
NUMBER_FORM = re.compile(
    rf"(?P<sign>[-+]?)(?:(?P<german>{GERMAN})|(?P<times>\d+(?:\.\d+)?) ?[x*] ?(?P<scaled>{POWER})|(?P<power>{POWER})"
    rf"|(?P<float>\d+(?:\.\d+)?[eE][+-]?\d+)|(?:(?P<mixed>\d+) )?(?P<over>\d+) ?/ ?(?P<below>\d+)"
    rf"|(?P<decimal>{DECIMAL})|(?P<comma>\d+,\d+))(?![\d^]|[.,:/]\d)"
)
SHARES = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4, "third": 3, "thirds": 3, "fifth": 5, "fifths": 5}
SHARE_FORM = re.compile(rf"(an?|{'|'.join(ONES.split()[1:10])})[ -]({'|'.join(SHARES)})\b", re.IGNORECASE)
DECADE = re.compile(r"[12]\d\d0s\b")
HIGHEST_POWER = 400
LONGEST = 400
"""Characters of a text that is read as a quantity; what is longer is compared by its words."""

CURRENCIES = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "USD": "USD", "EUR": "EUR"}
CURRENCIES |= {"GBP": "GBP", "JPY": "JPY", "INR": "INR", "CHF": "CHF"}

UnitOf = tuple[str, Fraction]  # what is measured, and how much of it one is


def _prefixed() -> dict[str, UnitOf]:
    symbols = {"m": "length", "g": "mass", "s": "time", "l": "volume", "L": "volume", "W": "power", "Hz": "frequency"}
    symbols |= {"V": "voltage", "A": "current", "J": "energy", "Pa": "pressure", "N": "force", "eV": "electronvolts"}
    prefixes = {"n": -9, "µ": -6, "μ": -6, "m": -3, "c": -2, "k": 3, "M": 6, "G": 9, "T": 12}
    made = {p + s: (what, Fraction(10) ** e) for s, what in symbols.items() for p, e in prefixes.items()}
    return made | {symbol: (what, Fraction(1)) for symbol, what in symbols.items()}


def _units() -> dict[str, frozenset[UnitOf]]:
    """Every unit by each of its spellings. Pounds are money and mass: one that could be either is both."""
    named: dict[str, UnitOf] = {
        "metre meter": ("length", Fraction(1)),
        "kilometre kilometer km Km KM": ("length", Fraction(1000)),
        "centimetre centimeter cm": ("length", Fraction(1, 100)),
        "millimetre millimeter mm": ("length", Fraction(1, 1000)),
        "inch inches": ("length", Fraction(254, 10000)),
        "foot feet ft": ("length", Fraction(3048, 10000)),
        "yard yd": ("length", Fraction(9144, 10000)),
        "mile mi": ("length", Fraction(1609344, 1000)),
        "gram gramme": ("mass", Fraction(1)),
        "kilogram kilogramme kg Kg KG kilo": ("mass", Fraction(1000)),
        "milligram mg": ("mass", Fraction(1, 1000)),
        "tonne": ("mass", Fraction(10**6)),
        "ounce oz": ("mass", Fraction(45359237, 1600000)),
        "lb lbs": ("mass", Fraction(45359237, 100000)),
        "second sec": ("time", Fraction(1)),
        "millisecond ms": ("time", Fraction(1, 1000)),
        "minute min mins": ("time", Fraction(60)),
        "hour hr hrs h": ("time", Fraction(3600)),
        "day": ("time", Fraction(86400)),
        "week": ("time", Fraction(604800)),
        "month": ("months", Fraction(1)),
        "year yr yrs": ("months", Fraction(12)),
        "litre liter": ("volume", Fraction(1)),
        "millilitre milliliter ml mL": ("volume", Fraction(1, 1000)),
        "watt": ("power", Fraction(1)),
        "volt": ("voltage", Fraction(1)),
        "amp ampere": ("current", Fraction(1)),
        "joule": ("energy", Fraction(1)),
        "kelvin K": ("kelvin", Fraction(1)),
        "°C celsius": ("celsius", Fraction(1)),
        "°F fahrenheit": ("fahrenheit", Fraction(1)),
        "mph": ("miles an hour", Fraction(1)),
        "km/h kph": ("kilometres an hour", Fraction(1)),
        "m/s": ("metres a second", Fraction(1)),
        "% percent": ("percent", Fraction(1)),
        "dollar": ("USD", Fraction(1)),
        "euro": ("EUR", Fraction(1)),
        "yen": ("JPY", Fraction(1)),
        "rupee": ("INR", Fraction(1)),
    }
    units = {symbol: frozenset([measure]) for symbol, measure in _prefixed().items()}
    for names, measure in named.items():
        for name in names.split():
            units[name] = units[name + "s"] = frozenset([measure])
    units |= {sign: frozenset([(name, Fraction(1))]) for sign, name in CURRENCIES.items()}
    units["pounds"] = units["pound"] = units["£"] | units["lb"]
    units["cents"] = units["cent"] = frozenset([("USD", Fraction(1, 100)), ("EUR", Fraction(1, 100))])
    units["pence"] = frozenset([("GBP", Fraction(1, 100))])
    units["degrees"] = units["degree"] = units["°"] = units["°C"] | units["°F"] | {("angle", Fraction(1))}
    for scale in ("Celsius", "Fahrenheit"):
        units[f"degrees {scale}"] = units[scale] = units[scale.lower()]
    units["per cent"] = units["%"]
    return units


UNITS = _units()

UNIT_FORM = re.compile(
    r"\s?(degrees (?:[Cc]elsius|[Ff]ahrenheit)|per cent|km/h|m/s|°[CF]?|[%€£$]|[^\W\d_]+)(?![\w/^°])"
)
NOUN = re.compile(r"(?:of )?[a-z][a-z'-]*(?: [a-z][a-z'-]*){0,5}")
NO_NOUNS = (
    "because since or and to but not no than more less fewer minus plus times over by squared cubed factorial mod "
    "modulo per ago before after down up below above under dozen hundred thousand million billion trillion half halves "
    "thirds quarters tenths hundredths point is are was were equals am pm bc ad bce ce if unless except only x"
)
"""Words with which what follows a number is more than the name of what is counted."""


@dataclass(frozen=True)
class Quantity:
    """A number, and what it is of: ``measures`` of a known unit, or the ``noun`` that is counted, or neither.

    ``end`` is where the number ends in the text, with a known unit that follows it.
    """

    value: Fraction
    unit: str = ""
    measures: frozenset[UnitOf] = frozenset()
    noun: str = ""
    end: int = 0

    def same(self, other: Quantity) -> bool:
        """Whether they are as much of the same. A number alone is as much of anything, but of no share (5, 5 %)."""
        if self.measures and other.measures:
            these, those = dict(self.measures), dict(other.measures)
            return any(self.value * these[what] == other.value * those[what] for what in these.keys() & those.keys())
        if self.value != other.value or "percent" in dict(self.measures | other.measures):
            return False
        if self.measures or other.measures:
            return not (self.noun or other.noun)
        shorter, longer = sorted((_words(self.noun), _words(other.noun)), key=len)
        return longer[: len(shorter)] == shorter

    @property
    def name(self) -> str:
        """The number in digits, with its unit."""
        number = self.value
        shown = str(number.numerator) if number.denominator == 1 else _decimal(number)
        return f"{shown} {self.unit}".rstrip() if self.unit != "%" else f"{shown}%"


def quantity(text: str) -> Quantity | None:
    """The quantity that a plain text is, None for any other text."""
    if len(text) > LONGEST:
        return None
    sign = re.match(r"([-+]?)(US\$|[$€£¥₹]|(?:USD|EUR|GBP|JPY|INR|CHF) )\s?(?=[\d.])", text)
    rest = sign[1] + text[sign.end() :] if sign else text
    shift = len(text) - len(rest)
    found = NUMBER_FORM.match(rest)
    if DECADE.match(rest):  # and no seconds
        return None
    if found:
        value, end = _value(found), found.end()
    else:
        value, end = _in_words(rest)
    if value is None:
        return None
    scale = re.match(r" (dozen|thousand|million|billion|trillion)\b(?! \d)", rest[end:])
    if sign and not scale:
        scale = re.match(r" ?(k|m|bn)\b", rest[end:], re.IGNORECASE)
    if scale:
        value *= {"k": 10**3, "m": 10**6, "bn": 10**9, **MAGNITUDES}[scale[1].lower()]
        end += scale.end()
    tail = rest[end:]
    if sign:
        unit = sign[2].strip()
        if tail.strip() in ("", "dollars", "euros", "pounds", "USD", "EUR", "GBP") or _is_noun(tail):
            return Quantity(value, unit, UNITS[unit], end=end + shift)
        return None
    if (unit := _unit(tail, value == 1)) is not None:
        length = len(tail) - len(tail.lstrip()) + len(unit)
        more = tail[length:]
        if not more.strip() or _is_noun(more):
            return Quantity(value, unit, UNITS[unit], end=end + length + shift)
    if found and found["comma"]:
        return None
    if not tail.strip():
        return Quantity(value, end=end + shift)
    return Quantity(value, noun=tail.strip(), end=end + shift) if _is_noun(tail) else None


def _unit(tail: str, one: bool) -> str | None:
    """The known unit that a tail begins with, the longest spelling of it. ``one``: it follows a 1."""
    begun = UNIT_FORM.match(tail)
    if not begun:
        return None
    name = begun[1].replace("degrees c", "degrees C").replace("degrees f", "degrees F")
    if name in UNITS:
        return begun[1] if begun[1] in UNITS else name
    lower = name.lower()
    title = name[0].isupper() and not name.endswith(("s", "S")) and not one  # 50 Cent
    return lower if len(lower) > 3 and lower in UNITS and not title else None


def _is_noun(tail: str) -> bool:
    words = tail.strip()
    return bool(tail[:1] == " " and NOUN.fullmatch(words)) and not set(NO_NOUNS.split()).intersection(words.split())


def _words(noun: str) -> list[str]:
    return [word[:-1] if word.endswith("s") and len(word) > 3 else word for word in noun.split()]


def _value(found: re.Match[str]) -> Fraction | None:
    sign = -1 if found["sign"] == "-" else 1
    if found["german"]:
        return sign * Fraction(found["german"].replace(".", "").replace(",", "."))
    if found["scaled"]:
        power = _power(found["scaled"])
        return None if power is None else sign * Fraction(found["times"]) * power
    if found["power"]:
        power = _power(found["power"])
        if power is None or (sign < 0 and int(re.split(r"\^|\*\*", found["power"])[1]) % 2 == 0):
            return None  # of -2^2 some say 4
        return sign * power
    if found["float"]:
        return (
            sign * Fraction(found["float"]) if abs(int(re.split("[eE]", found["float"])[1])) <= HIGHEST_POWER else None
        )
    if found["over"]:
        if not int(found["below"]):
            return None
        return sign * (int(found["mixed"] or 0) + Fraction(int(found["over"]), int(found["below"])))
    if found["comma"]:
        return sign * Fraction(found["comma"].replace(",", "."))
    return sign * Fraction(re.sub("[, ']", "", found["decimal"]))


def _power(text: str) -> Fraction | None:
    base, exponent = re.split(r"\^|\*\*", text)
    if abs(int(exponent)) > HIGHEST_POWER or len(base) > 30 or (not float(base) and int(exponent) <= 0):
        return None
    return Fraction(base) ** int(exponent)


def _in_words(text: str) -> tuple[Fraction | None, int]:
    """The number that a text begins with in words, and where it ends."""
    if share := SHARE_FORM.match(text):
        above, below = share[1].lower(), share[2].lower()
        if above in WORDS or below in ("half", "quarter"):  # a third may be one more
            return Fraction(WORDS.get(above, 1), SHARES[below]), share.end()
    if re.match(r"a (?:hundred|dozen|thousand|million|billion|trillion)\b", text, re.IGNORECASE):
        value, end = _in_words(f"one{text[1:]}")
        return value, end - 2
    total, group, end, last = 0, 0, 0, 10**15
    for found in re.finditer(r"(?:(^)|[ -](and )?)([A-Za-z]+)\b", text):
        word = found[3].lower()
        if found.start() != end or (found[2] and last != 100):
            break
        if word in WORDS and not (WORDS[word] == 0 and end):
            n = WORDS[word]
            if end and not (last >= 100 or (20 <= last <= 90 and 0 < n < 10)):
                return None, 0
            group += n
            last = n
        elif word == "hundred" and 0 < group < 100 and end:
            group, last = group * 100, 100
        elif word in MAGNITUDES and group and end:
            total, group, last = total + group * MAGNITUDES[word], 0, 1000
        else:
            break
        end = found.end()
    return (Fraction(total + group), end) if end else (None, 0)


def _decimal(number: Fraction) -> str:
    """As a decimal where that ends, else as a fraction."""
    rest, places = number.denominator, 0
    for prime in (2, 5):
        times = 0
        while rest % prime == 0:
            rest, times = rest // prime, times + 1
        places = max(places, times)
    if rest != 1 or places > 12:
        return f"{number.numerator}/{number.denominator}"
    scaled = abs(number.numerator) * 10**places // number.denominator
    whole, part = divmod(scaled, 10**places)
    return f"{'-' if number < 0 else ''}{whole}.{part:0{places}d}"
