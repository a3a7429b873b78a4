"""The words of the generated tasks: one lexicon for train, one for dev and test.

All are common English words that a pretrained encoder knows. The two lexicons share no noun and no name, so a
model that only memorises words has nothing to hold on to in dev. Of the held-out polarity adjectives a
quarter is new, the rest is shared: the easy level has to stay solvable from seen words.
"""

from __future__ import annotations

from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True, slots=True)
class Verb:
    """A transitive verb; `past` is also its participle."""

    base: str
    past: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words to fill templates with.

    Attributes:
        people: nouns for people, used with `the`.
        names: given names.
        places: adjuncts of place.
        days: days of the week.
        things: concrete nouns that can be bought, seen or lost.
        subjects: nouns that an opinion can be about.
        positive, negative: polarity adjectives.
        kinds: (kind, its members), e.g. `("flower", ("rose", ...))`.
        noun_synonyms: pairs of nouns with one meaning.
    """

    people: tuple[str, ...]
    names: tuple[str, ...]
    places: tuple[str, ...]
    days: tuple[str, ...]
    things: tuple[str, ...]
    subjects: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    kinds: tuple[tuple[str, tuple[str, ...]], ...]
    noun_synonyms: tuple[tuple[str, str], ...]


# Verbs and adverbs are shared: the rules are carried by them.
VERBS = (
    Verb("thank", "thanked"),
    Verb("call", "called"),
    Verb("follow", "followed"),
    Verb("visit", "visited"),
    Verb("greet", "greeted"),
    Verb("praise", "praised"),
    Verb("blame", "blamed"),
    Verb("ignore", "ignored"),
    Verb("invite", "invited"),
    Verb("warn", "warned"),
    Verb("trust", "trusted"),
    Verb("watch", "watched"),
    Verb("meet", "met"),
    Verb("find", "found"),
    Verb("hear", "heard"),
    Verb("teach", "taught"),
)
THING_VERBS = (
    Verb("find", "found"),
    Verb("lose", "lost"),
    Verb("want", "wanted"),
    Verb("notice", "noticed"),
    Verb("buy", "bought"),
    Verb("sell", "sold"),
    Verb("describe", "described"),
)
VERB_SYNONYMS = (
    (Verb("help", "helped"), Verb("assist", "assisted")),
    (Verb("hire", "hired"), Verb("employ", "employed")),
    (Verb("phone", "phoned"), Verb("telephone", "telephoned")),
    (Verb("scare", "scared"), Verb("frighten", "frightened")),
    (Verb("rescue", "rescued"), Verb("save", "saved")),
    (Verb("comfort", "comforted"), Verb("console", "consoled")),
    (Verb("mock", "mocked"), Verb("ridicule", "ridiculed")),
    (Verb("annoy", "annoyed"), Verb("irritate", "irritated")),
    (Verb("injure", "injured"), Verb("hurt", "hurt")),
    (Verb("stop", "stopped"), Verb("halt", "halted")),
)
ADVERBS = ("really", "truly", "simply", "quite")
ANTONYMS = (
    ("cheap", "expensive"),
    ("clean", "dirty"),
    ("safe", "dangerous"),
    ("new", "old"),
    ("wet", "dry"),
    ("light", "heavy"),
    ("real", "fake"),
    ("full", "empty"),
)
COMPARATIVES = (
    ("older", "younger"),
    ("taller", "shorter"),
    ("richer", "poorer"),
    ("stronger", "weaker"),
    ("faster", "slower"),
    ("happier", "sadder"),
)
# (A does to B, preposition; B does to A, preposition): A sold a cup to B == B bought a cup from A.
CONVERSES = (
    (("sold", "to"), ("bought", "from")),
    (("lent", "to"), ("borrowed", "from")),
    (("gave", "to"), ("received", "from")),
)

TRAIN = Lexicon(
    people=_words(
        """nurse pilot farmer doctor teacher lawyer singer painter driver baker student soldier writer actor
        banker chef clerk dancer dentist editor engineer judge mayor plumber poet priest reporter sailor
        scientist king"""
    ),
    names=_words("Anna David Maria Peter Laura James Emma Daniel Sarah Thomas Mary John"),
    places=(
        "in the garden",
        "at the station",
        "in the park",
        "near the river",
        "at the market",
        "in the kitchen",
        "behind the church",
        "at the airport",
    ),
    days=("Monday", "Tuesday", "Wednesday", "Thursday"),
    things=_words(
        """bag knife bicycle lamp hat book ring box clock chair bottle shirt basket ticket mirror blanket
        umbrella wallet"""
    ),
    subjects=_words(
        """film plot acting music story script ending hotel meal room service food soup concert game song play
        show speech lecture view lesson tour trip cake coffee wine garden staff weather party camera phone car
        house"""
    ),
    positive=_words(
        """great excellent wonderful superb brilliant lovely good delightful charming amazing beautiful
        fantastic impressive enjoyable pleasant perfect outstanding splendid nice stunning marvelous"""
    ),
    negative=_words(
        """awful terrible bad horrible dull boring poor weak disappointing tedious ugly unpleasant lousy
        miserable annoying pathetic ridiculous nasty dreary mediocre worthless"""
    ),
    kinds=(
        ("flower", ("rose", "lily", "daisy", "violet")),
        ("fruit", ("apple", "banana", "peach", "lemon")),
        ("bird", ("eagle", "robin", "parrot", "owl")),
        ("tool", ("hammer", "drill", "wrench", "shovel")),
        ("vehicle", ("truck", "van", "taxi", "tractor")),
        ("insect", ("bee", "fly", "beetle", "butterfly")),
        ("weapon", ("rifle", "sword", "pistol", "spear")),
        ("musical instrument", ("piano", "guitar", "flute", "trumpet")),
    ),
    noun_synonyms=(
        ("car", "automobile"),
        ("gift", "present"),
        ("picture", "image"),
        ("stone", "rock"),
        ("cup", "mug"),
        ("bike", "cycle"),
        ("sack", "bag"),
        ("shop", "store"),
        ("error", "mistake"),
        ("journal", "diary"),
    ),
)

HELD_OUT = Lexicon(
    people=_words(
        """surgeon gardener professor tailor waiter architect guard hunter librarian musician butcher carpenter
        detective manager queen senator"""
    ),
    names=_words("Julia Michael Alice Robert Nina George Helen Victor"),
    places=("at the harbor", "in the library", "near the bridge", "at the museum", "in the forest"),
    days=("Friday", "Saturday", "Sunday"),
    things=_words("jacket necklace coin table candle helmet carpet statue guidebook pillow"),
    subjects=_words(
        """movie novel dialogue restaurant breakfast laptop museum painting album poem cheese sofa beach dance
        opera course bread apartment wedding cabin"""
    ),
    # The first 15 of TRAIN.positive and TRAIN.negative, then five new words each.
    positive=_words(
        """great excellent wonderful superb brilliant lovely good delightful charming amazing beautiful
        fantastic impressive enjoyable pleasant terrific magnificent fabulous awesome gorgeous"""
    ),
    negative=_words(
        """awful terrible bad horrible dull boring poor weak disappointing tedious ugly unpleasant lousy
        miserable annoying dreadful hideous disgusting rotten shameful"""
    ),
    kinds=(
        ("flower", ("tulip", "orchid")),
        ("fruit", ("pear", "cherry", "mango")),
        ("bird", ("hawk", "crow", "pigeon")),
        ("tool", ("axe", "saw", "screwdriver")),
        ("vehicle", ("bus", "motorcycle", "jeep")),
        ("insect", ("wasp", "mosquito", "ant")),
        ("weapon", ("dagger", "cannon")),
        ("musical instrument", ("violin", "drum", "cello")),
    ),
    noun_synonyms=(
        ("sofa", "couch"),
        ("rug", "mat"),
        ("coat", "jacket"),
        ("ship", "boat"),
        ("photo", "photograph"),
        ("portrait", "likeness"),
    ),
)


def with_article(noun: str) -> str:
    """Return `a noun` or `an noun` (by the first letter: no word here is an exception)."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def sentence(text: str) -> str:
    """Return `text` with a capital first letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."
