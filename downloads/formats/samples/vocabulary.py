# ruff: noqa: E501 - one line per species and place reads best
"""Words the sample specimens are made of: names of organisms, places, collectors, remarks, in eight languages."""

from __future__ import annotations

from typing import Final, NamedTuple


class Taxon(NamedTuple):
    """A species as a label names it."""

    kingdom: str
    phylum: str
    class_: str
    order: str
    family: str
    genus: str
    epithet: str
    common: str


def _group(kingdom: str, phylum: str, class_: str, order: str, family: str, *species: str) -> list[Taxon]:
    """Taxa of one family from `"Genus epithet|common name"`."""
    out = []
    for each in species:
        name, _bar, common = each.partition("|")
        genus, _space, epithet = name.partition(" ")
        out.append(Taxon(kingdom, phylum, class_, order, family, genus, epithet, common))
    return out


_PLANT = ("Plantae", "Tracheophyta", "Magnoliopsida")
_ANIMAL = ("Animalia", "Chordata")
TAXA: Final[list[Taxon]] = [
    *_group(*_PLANT, "Sapindales", "Sapindaceae", "Acer rubrum|Red Maple", "Acer saccharum|Sugar Maple"),
    *_group(*_PLANT, "Malpighiales", "Euphorbiaceae", "Euphorbia pulcherrima|Flor de Pascua", "Euphorbia esula|"),
    *_group(*_ANIMAL, "Mammalia", "Carnivora", "Felidae", "Puma concolor|Cougar", "Panthera onca|onça-pintada"),
    *_group(*_PLANT, "Fagales", "Fagaceae", "Quercus alba|White Oak", "Quercus robur|dąb szypułkowy"),
    *_group(*_PLANT, "Asterales", "Asteraceae", "Solidago canadensis|nawłoć", "Bidens pilosa|picão-preto"),
    *_group(*_PLANT, "Poales", "Poaceae", "Poa annua|", "Zea mays|maíz", "Oryza sativa|イネ"),
    *_group(*_PLANT, "Fabales", "Fabaceae", "Inga edulis|guaba", "Acacia senegal|الهشاب"),
    *_group(
        *_PLANT, "Rosales", "Rosaceae", "Rosa canina|dzika róża", "Prunus serrulata|山桜", "Rubus ulmifolius|zarzamora"
    ),
    *_group(*_PLANT, "Gentianales", "Rubiaceae", "Coffea arabica|café", "Psychotria viridis|chacruna"),
    *_group(
        "Plantae",
        "Tracheophyta",
        "Liliopsida",
        "Asparagales",
        "Orchidaceae",
        "Cattleya labiata|",
        "Vanilla planifolia|vainilla",
    ),
    *_group(
        "Plantae", "Tracheophyta", "Pinopsida", "Pinales", "Pinaceae", "Pinus sylvestris|sosna", "Abies alba|jodła"
    ),
    *_group(*_ANIMAL, "Aves", "Passeriformes", "Corvidae", "Corvus corax|kruk", "Cyanocorax yncas|quien quien"),
    *_group(*_ANIMAL, "Aves", "Anseriformes", "Anatidae", "Anas platyrhynchos|マガモ", "Cairina moschata|pato-do-mato"),
    *_group(*_ANIMAL, "Mammalia", "Rodentia", "Cricetidae", "Peromyscus maniculatus|Deer Mouse", "Microtus arvalis|"),
    *_group(*_ANIMAL, "Mammalia", "Chiroptera", "Phyllostomidae", "Artibeus lituratus|murciélago frutero"),
    *_group(*_ANIMAL, "Amphibia", "Anura", "Bufonidae", "Rhinella marina|sapo-cururu", "Bufo gargarizans|中华蟾蜍"),
    *_group(*_ANIMAL, "Reptilia", "Squamata", "Colubridae", "Elaphe climacophora|アオダイショウ"),
    *_group(*_ANIMAL, "Actinopterygii", "Cypriniformes", "Cyprinidae", "Cyprinus carpio|鲤", "Danio rerio|"),
    *_group("Animalia", "Arthropoda", "Insecta", "Coleoptera", "Carabidae", "Carabus auratus|", "Calosoma sycophanta|"),
    *_group("Animalia", "Arthropoda", "Insecta", "Lepidoptera", "Nymphalidae", "Danaus plexippus|mariposa monarca"),
    *_group(
        "Animalia",
        "Arthropoda",
        "Insecta",
        "Hymenoptera",
        "Apidae",
        "Apis mellifera|نحلة العسل",
        "Bombus terrestris|trzmiel",
    ),
    *_group("Animalia", "Mollusca", "Gastropoda", "Stylommatophora", "Helicidae", "Helix pomatia|winniczek"),
    *_group(
        "Fungi", "Basidiomycota", "Agaricomycetes", "Agaricales", "Amanitaceae", "Amanita muscaria|muchomor czerwony"
    ),
]


class Place(NamedTuple):
    """Somewhere specimens were collected; `lat`/`lon` are its middle."""

    continent: str
    country: str
    code: str
    state: str
    county: str
    locality: str
    lat: float
    lon: float


SPANISH: Final = [
    Place("South America", "Perú", "PE", "Loreto", "Maynas", "Río Nanay, aguas arriba de «Iquitos», km 12", -3.75, -73.35),
    Place("North America", "México", "MX", "Oaxaca", "Juquila", "Sierra Madre, camino a \"El Ñandú\"; bosque de niebla", 16.2, -97.3),
    Place("South America", "Colombia", "CO", "Antioquia", "Urrao", "Páramo del Sol, vertiente oriental, 3.400 m", 6.4, -76.1),
    Place("Europe", "España", "ES", "Andalucía", "Jaén", "Sierra de Cazorla, cañada de las Fuentes", 37.9, -2.9),
    Place("South America", "Brasil", "BR", "Amazonas", "Manaus", "Reserva Ducke, igarapé Barro Branco, São José", -2.93, -59.97),
    Place("South America", "Brasil", "BR", "Paraná", "Morretes", "Estação Ecológica do Pau-Oco, trilha à direita", -25.57, -48.88),
]  # fmt: skip
ENGLISH: Final = [
    Place("North America", "United States", "US", "Florida", "Alachua", "Gainesville, 2 mi. N of Paynes Prairie, \"the sink\"", 29.67, -82.32),
    Place("North America", "United States", "US", "Alaska", "Aleutians West", "Semisopochnoi Island, near the 180th meridian", 51.96, 179.77),
    Place("Oceania", "Fiji", "FJ", "Northern", "Cakaudrove", "Taveuni, at the meridian stone", -16.85, -179.97),
    Place("Antarctica", "Antarctica", "AQ", "", "", "South Pole Station, wind-blown", -89.99, 0.5),
    Place("North America", "Canada", "CA", "Nunavut", "Qikiqtaaluk", "Alert, sea ice edge\tcamp 4", 82.5, -62.35),
    Place("North America", "United States", "US", "California", "Inyo", "White Mts., Crooked Creek,\nsecond line of the label", 37.5, -118.17),
]  # fmt: skip
POLISH_ARABIC: Final = [
    Place("Europe", "Polska", "PL", "podlaskie", "hajnowski", "Puszcza Białowieska, oddział 369, żyzny grąd", 52.74, 23.87),
    Place("Europe", "Polska", "PL", "małopolskie", "tatrzański", "Dolina Pięciu Stawów, źródliska pod Świnicą", 49.21, 20.03),
    Place("Africa", "مصر", "EG", "جنوب سيناء", "", "وادي فيران، قرب الواحة", 28.7, 33.63),
    Place("Africa", "المغرب", "MA", "درعة تافيلالت", "", "جبل تدغين، غابة الأرز", 31.5, -5.5),
]  # fmt: skip
EAST_ASIAN: Final = [
    Place("Asia", "日本", "JP", "東京都", "", "東京都八王子市高尾山 6号路、沢沿い", 35.625, 139.243),
    Place("Asia", "日本", "JP", "北海道", "", "知床半島 羅臼岳、ハイマツ帯", 44.076, 145.122),
    Place("Asia", "中国", "CN", "云南省", "", "西双版纳热带植物园，沟谷雨林", 21.93, 101.25),
    Place("Asia", "中国", "CN", "四川省", "", "峨眉山九老洞，海拔1790米", 29.55, 103.34),
]  # fmt: skip
COLLECTORS: Final = {
    "es": ["M. Ñañez", "J. Álvarez-Ruíz & P. Luna", "C. da Conceição", 'Expedición "Río Nanay"'],
    "en": ["R. Field, s.n.", "Museum party no. 7", "O'Brien; Smith-Jones", "unknown"],
    "pl": ["W. Źródlak", "Ż. Łęcka et al.", "م. الحسن", "Zespół „Puszcza”"],
    "ja": ["山田 採集隊", "植物研究会", "王 采集组", "高尾 調査班"],
}
REMARKS: Final = [
    "",
    "",
    "label torn",
    "flowers white; fruit 3-5 mm",
    "det. uncertain, see notes",
    "=not a formula, though it looks like one",
    'duplicate sent, "K"',
    "line one\nline two",
    "🌿 pressed in the field",
    "Cafe\u0301 plantation edge",  # a decomposed accent
    "-12 °C at sunrise",
    'collected with 4" pot',
]
BASES: Final = [
    "PreservedSpecimen",
    "Preserved Specimen",
    "FossilSpecimen",
    "HumanObservation",
    "Living Specimen",
    "FieldBook",
]
LICENCES: Final = [
    "http://creativecommons.org/licenses/by/4.0/",
    "http://creativecommons.org/licenses/by-nc/4.0/",
    "http://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY-NC-SA 3.0",
    "",
]
