"""ISO 639-2: two-letter, terminological (T) and bibliographic (B) codes to the T code (contract 2.8, 2.9).

Source: ISO 639-2:1998 code list, Library of Congress; reduced to languages that have a two-letter code and to those
without one that libraries of accessible books hold in number.
"""

import functools
import re

# two-letter|T[/B]|English name; "-" where there is no two-letter code
_TABLE = """
aa|aar|Afar
ab|abk|Abkhazian
ae|ave|Avestan
af|afr|Afrikaans
ak|aka|Akan
am|amh|Amharic
an|arg|Aragonese
ar|ara|Arabic
as|asm|Assamese
av|ava|Avaric
ay|aym|Aymara
az|aze|Azerbaijani
ba|bak|Bashkir
be|bel|Belarusian
bg|bul|Bulgarian
bh|bih|Bihari languages
bi|bis|Bislama
bm|bam|Bambara
bn|ben|Bengali
bo|bod/tib|Tibetan
br|bre|Breton
bs|bos|Bosnian
ca|cat|Catalan
ce|che|Chechen
ch|cha|Chamorro
co|cos|Corsican
cr|cre|Cree
cs|ces/cze|Czech
cu|chu|Church Slavic
cv|chv|Chuvash
cy|cym/wel|Welsh
da|dan|Danish
de|deu/ger|German
dv|div|Divehi
dz|dzo|Dzongkha
ee|ewe|Ewe
el|ell/gre|Greek
en|eng|English
eo|epo|Esperanto
es|spa|Spanish
et|est|Estonian
eu|eus/baq|Basque
fa|fas/per|Persian
ff|ful|Fulah
fi|fin|Finnish
fj|fij|Fijian
fo|fao|Faroese
fr|fra/fre|French
fy|fry|Western Frisian
ga|gle|Irish
gd|gla|Scottish Gaelic
gl|glg|Galician
gn|grn|Guarani
gu|guj|Gujarati
gv|glv|Manx
ha|hau|Hausa
he|heb|Hebrew
hi|hin|Hindi
ho|hmo|Hiri Motu
hr|hrv|Croatian
ht|hat|Haitian Creole
hu|hun|Hungarian
hy|hye/arm|Armenian
hz|her|Herero
ia|ina|Interlingua
id|ind|Indonesian
ie|ile|Interlingue
ig|ibo|Igbo
ii|iii|Sichuan Yi
ik|ipk|Inupiaq
io|ido|Ido
is|isl/ice|Icelandic
it|ita|Italian
iu|iku|Inuktitut
ja|jpn|Japanese
jv|jav|Javanese
ka|kat/geo|Georgian
kg|kon|Kongo
ki|kik|Kikuyu
kj|kua|Kuanyama
kk|kaz|Kazakh
kl|kal|Greenlandic
km|khm|Khmer
kn|kan|Kannada
ko|kor|Korean
kr|kau|Kanuri
ks|kas|Kashmiri
ku|kur|Kurdish
kv|kom|Komi
kw|cor|Cornish
ky|kir|Kyrgyz
la|lat|Latin
lb|ltz|Luxembourgish
lg|lug|Ganda
li|lim|Limburgish
ln|lin|Lingala
lo|lao|Lao
lt|lit|Lithuanian
lu|lub|Luba-Katanga
lv|lav|Latvian
mg|mlg|Malagasy
mh|mah|Marshallese
mi|mri/mao|Maori
mk|mkd/mac|Macedonian
ml|mal|Malayalam
mn|mon|Mongolian
mr|mar|Marathi
ms|msa/may|Malay
mt|mlt|Maltese
my|mya/bur|Burmese
na|nau|Nauru
nb|nob|Norwegian Bokmål
nd|nde|North Ndebele
ne|nep|Nepali
ng|ndo|Ndonga
nl|nld/dut|Dutch
nn|nno|Norwegian Nynorsk
no|nor|Norwegian
nr|nbl|South Ndebele
nv|nav|Navajo
ny|nya|Chichewa
oc|oci|Occitan
oj|oji|Ojibwa
om|orm|Oromo
or|ori|Oriya
os|oss|Ossetian
pa|pan|Punjabi
pi|pli|Pali
pl|pol|Polish
ps|pus|Pashto
pt|por|Portuguese
qu|que|Quechua
rm|roh|Romansh
rn|run|Rundi
ro|ron/rum|Romanian
ru|rus|Russian
rw|kin|Kinyarwanda
sa|san|Sanskrit
sc|srd|Sardinian
sd|snd|Sindhi
se|sme|Northern Sami
sg|sag|Sango
si|sin|Sinhala
sk|slk/slo|Slovak
sl|slv|Slovenian
sm|smo|Samoan
sn|sna|Shona
so|som|Somali
sq|sqi/alb|Albanian
sr|srp|Serbian
ss|ssw|Swati
st|sot|Southern Sotho
su|sun|Sundanese
sv|swe|Swedish
sw|swa|Swahili
ta|tam|Tamil
te|tel|Telugu
tg|tgk|Tajik
th|tha|Thai
ti|tir|Tigrinya
tk|tuk|Turkmen
tl|tgl|Tagalog
tn|tsn|Tswana
to|ton|Tonga
tr|tur|Turkish
ts|tso|Tsonga
tt|tat|Tatar
tw|twi|Twi
ty|tah|Tahitian
ug|uig|Uighur
uk|ukr|Ukrainian
ur|urd|Urdu
uz|uzb|Uzbek
ve|ven|Venda
vi|vie|Vietnamese
vo|vol|Volapük
wa|wln|Walloon
wo|wol|Wolof
xh|xho|Xhosa
yi|yid|Yiddish
yo|yor|Yoruba
za|zha|Zhuang
zh|zho/chi|Chinese
zu|zul|Zulu
-|ang|Old English
-|chr|Cherokee
-|crp|Creoles and pidgins
-|den|Slave
-|dgr|Dogrib
-|egy|Egyptian
-|enm|Middle English
-|fil|Filipino
-|frm|Middle French
-|fro|Old French
-|grc|Ancient Greek
-|gwi|Gwich'in
-|hai|Haida
-|haw|Hawaiian
-|kar|Karen languages
-|mic|Mi'kmaq
-|moh|Mohawk
-|mul|Multiple languages
-|nai|North American Indian languages
-|sal|Salishan languages
-|sgn|Sign languages
-|syr|Syriac
-|tli|Tlingit
-|tsi|Tsimshian
-|und|Undetermined
-|wak|Wakashan languages
-|zxx|No linguistic content
"""


@functools.cache
def _codes() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """(any code → T, T → name, T → two-letter)."""
    known: dict[str, str] = {}
    names: dict[str, str] = {}
    short: dict[str, str] = {}
    for line in _TABLE.split("\n"):
        if not line:
            continue
        two, three, name = line.split("|")
        term, _, biblio = three.partition("/")
        names[term] = name
        known[term] = term
        if biblio:
            known[biblio] = term
        if two != "-":
            known[two] = term
            short[term] = two
    return known, names, short


def to_t(code: str) -> str | None:
    """The ISO 639-2/T code of a two-letter, B, T or BCP 47 code (`fr-CA`, `fre`, `FRA` → `fra`); None if it is none.

    A well-formed three-letter code outside the table is kept: ISO 639-2 has more than libraries here hold.
    """
    primary = re.split(r"[-_]", code.strip().lower(), maxsplit=1)[0]
    known, _, _ = _codes()
    if primary in known:
        return known[primary]
    return primary if re.fullmatch(r"[a-z]{3}", primary) else None


def to_bcp47(code: str) -> str:
    """The shortest BCP 47 tag of a T code: `eng` → `en`, `grc` → `grc`."""
    return _codes()[2].get(code, code)


def labels() -> dict[str, str]:
    """T code → English name, for the OPTIONS description."""
    return dict(_codes()[1])
