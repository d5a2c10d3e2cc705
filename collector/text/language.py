"""In which language a text is written, as far as that is plain: text comes in, a code or "" leaves.

Pure. The script tells most; Latin ones are told apart by their commonest little words. Short or mixed texts
and code give "": unknown is better than a guess, since a switch of language is counted as a fault.
"""

import re

LONGEST = 4000  # characters that are looked at
LEAST_LETTERS, LEAST_WORDS = 20, 3
LEAD = 1.5  # how much commoner the little words of the first must be than those of the second

SCRIPTS = {
    "ja": re.compile("[぀-ヿ]"),
    "ko": re.compile("[가-힣]"),
    "zh": re.compile("[一-鿿]"),
    "ru": re.compile("[Ѐ-ӿ]"),
    "ar": re.compile("[؀-ۿ]"),
    "he": re.compile("[֐-׿]"),
    "hi": re.compile("[ऀ-ॿ]"),
    "th": re.compile("[฀-๿]"),
    "el": re.compile("[Ͱ-Ͽ]"),
}
WORDS = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the of and to in is that it for was with as are this be on not you have from or what how",
        "de": "der die und das ist nicht ein eine zu mit von für auf den dem sich auch wie ich sie es wird",
        "fr": "le la les des et est une un dans que pour qui pas sur avec vous ce cette sont plus du au nous",
        "es": "el la los las de y que en es una un por con para se no como más su del al lo está son pero",
        "it": "il di che è la per un una non con sono della gli del le si come più anche nel ma questo lo",
        "pt": "o a os as de e que do da em um uma para com não por mais se no na como é são dos mas você",
        "nl": "de het een van en is niet in op te dat met voor zijn die aan ook als maar bij er wordt naar",
        "pl": "i w na nie się z do to jest że o jak po co ale przez od dla są tym oraz który być za",
        "tr": "ve bir bu için ile de da çok olan olarak daha gibi ne en ama var mı kadar sonra değil her",
    }.items()
}
WORD = re.compile(r"[^\W\d_]+")
CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def find_language(text: str) -> str:
    plain = CODE.sub(" ", text[:LONGEST])
    letters = sum(character.isalpha() for character in plain)
    if not letters:
        return ""
    shares = {code: len(script.findall(plain)) / letters for code, script in SCRIPTS.items()}
    if shares["ja"] > 0.1 and shares["ja"] + shares["zh"] > 0.5:
        return "ja"  # Japanese mixes its own signs with Chinese ones
    script = max(shares, key=lambda code: shares[code])
    if shares[script] > 0.5:
        return script
    return find_latin(plain) if letters >= LEAST_LETTERS and max(shares.values()) < 0.2 else ""


def find_latin(text: str) -> str:
    words = WORD.findall(text.lower())
    hits = {code: sum(word in common for word in words) for code, common in WORDS.items()}
    best, second = sorted(hits, key=lambda code: hits[code], reverse=True)[:2]
    clear = hits[best] >= LEAST_WORDS and hits[best] >= LEAD * hits[second] and hits[best] >= 0.1 * len(words)
    return best if clear else ""
