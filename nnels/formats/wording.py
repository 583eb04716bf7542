"""Words of the catalogue's pages in English and French."""

from collections.abc import Mapping

from nnels.formats import languages

ENGLISH, FRENCH = "en", "fr"
LANGUAGES = {ENGLISH: "English", FRENCH: "Français"}

_WORDS: Mapping[str, tuple[str, str]] = {
    "brand": ("Accessible library", "Bibliothèque accessible"),
    "skip": ("Skip to the content", "Aller au contenu"),
    "main": ("Main", "Principale"),
    "account": ("Account", "Compte"),
    "catalogue": ("Catalogue", "Catalogue"),
    "documentation": ("API docs", "Documentation de l’API"),
    "log_in": ("Log in", "Se connecter"),
    "log_out": ("Log out", "Se déconnecter"),
    "site_language": ("Language of this site", "Langue du site"),
    "help": ("Help:", "Aide :"),
    "lead": (
        "Books in formats for people with print disabilities. Anybody may search.",
        "Des livres en formats adaptés aux personnes ayant une déficience de lecture des imprimés. "
        "La recherche est ouverte à tous.",
    ),
    "search": ("Search", "Rechercher"),
    "search_label": ("Title, creator, subject or ISBN", "Titre, auteur, sujet ou ISBN"),
    "search_help": (
        "All words are searched; “…” is a phrase, -word excludes, “or” gives a choice.",
        "Tous les mots sont cherchés; « … » pour une expression, -mot exclut, « or » offre un choix.",
    ),
    "any_language": ("Any language", "Toutes les langues"),
    "any_format": ("Any format", "Tous les formats"),
    "language": ("Language", "Langue"),
    "languages": ("Languages", "Langues"),
    "format": ("Format", "Format"),
    "formats": ("Formats", "Formats"),
    "all_titles": ("All titles", "Tous les titres"),
    "results_for": ("Results for", "Résultats pour"),
    "nothing": ("No title was found.", "Aucun titre trouvé."),
    "perhaps": ("Perhaps you mean:", "Vouliez-vous dire :"),
    "too_long": ("Please search for fewer words.", "Veuillez chercher moins de mots."),
    "pages": ("Pages", "Pages"),
    "page": ("Page", "Page"),
    "of": ("of", "sur"),
    "first": ("First", "Première"),
    "previous": ("Previous", "Précédente"),
    "next": ("Next", "Suivante"),
    "last": ("Last", "Dernière"),
    "back": ("Back to the search", "Retour à la recherche"),
    "by": ("by", "par"),
    "about": ("About this title", "À propos de ce titre"),
    "creators": ("Creators", "Auteurs"),
    "published": ("Published", "Publication"),
    "publisher": ("Publisher", "Éditeur"),
    "subjects": ("Subjects", "Sujets"),
    "series": ("Series", "Collection"),
    "edition": ("Edition", "Édition"),
    "audience": ("Audience", "Public"),
    "narrators": ("Narrators", "Narration"),
    "narration": ("Voice", "Voix"),
    "human": ("Human voice", "Voix humaine"),
    "synthetic": ("Synthetic voice", "Voix de synthèse"),
    "duration": ("Duration", "Durée"),
    "accessibility": ("Accessibility", "Accessibilité"),
    "access_modes": ("Ways to read", "Modes de lecture"),
    "features": ("Features", "Caractéristiques"),
    "hazards": ("Hazards", "Risques"),
    "summary": ("Summary", "Résumé"),
    "conforms": ("Conforms to", "Conforme à"),
    "files": ("Files", "Fichiers"),
    "no_files": ("There is no file at the moment.", "Aucun fichier pour le moment."),
    "download": ("Download", "Télécharger"),
    "part": ("part", "partie"),
    "open_rights": ("Open to every account", "Ouvert à tous les comptes"),
    "restricted_rights": ("For verified readers", "Réservé aux lectrices et lecteurs vérifiés"),
    "log_in_to_download": ("Log in to download", "Se connecter pour télécharger"),
    "not_entitled": (
        "This title is for readers whose print disability was verified. Ask your library to verify your account.",
        "Ce titre est réservé aux personnes dont la déficience de lecture a été vérifiée. "
        "Demandez à votre bibliothèque de vérifier votre compte.",
    ),
    "not_found": ("There is no such page", "Cette page n’existe pas"),
    "not_found_text": ("The title may have been withdrawn.", "Le titre a peut-être été retiré."),
    "unavailable": ("Not available at the moment", "Indisponible pour le moment"),
    "unavailable_text": ("Please try again in a minute.", "Veuillez réessayer dans une minute."),
}

_FORMATS: Mapping[str, tuple[str, str]] = {
    "daisy202": ("DAISY 2.02 (zip)", "DAISY 2.02 (zip)"),
    "daisy3": ("DAISY 3 (zip)", "DAISY 3 (zip)"),
    "epub": ("EPUB", "EPUB"),
    "docx": ("Word (DOCX)", "Word (DOCX)"),
    "rtf": ("RTF", "RTF"),
    "pdf": ("PDF", "PDF"),
    "mp3": ("MP3 audio (zip)", "Audio MP3 (zip)"),
    "brf": ("Braille (BRF)", "Braille (BRF)"),
    "txt": ("Plain text", "Texte brut"),
    "html": ("HTML", "HTML"),
}

# Names of schema.org's accessibility vocabulary; others are shown as they are.
_ACCESS: Mapping[str, tuple[str, str]] = {
    "textual": ("text", "texte"),
    "auditory": ("sound", "son"),
    "visual": ("images", "images"),
    "tactile": ("touch", "toucher"),
    "readingOrder": ("reading order", "ordre de lecture"),
    "structuralNavigation": ("navigation by headings", "navigation par titres"),
    "tableOfContents": ("table of contents", "table des matières"),
    "alternativeText": ("descriptions of images", "descriptions des images"),
    "longDescription": ("long descriptions", "descriptions longues"),
    "pageNavigation": ("page navigation", "navigation par pages"),
    "index": ("index", "index"),
    "braille": ("braille", "braille"),
    "displayTransformability": ("adjustable display", "affichage modifiable"),
    "synchronizedAudioText": ("sound in step with the text", "son synchronisé avec le texte"),
    "none": ("none", "aucun"),
    "unknown": ("unknown", "inconnu"),
    "flashing": ("flashing", "clignotements"),
    "sound": ("sudden sound", "sons soudains"),
    "motionSimulation": ("simulated motion", "simulation de mouvement"),
    "noFlashingHazard": ("no flashing", "aucun clignotement"),
    "noSoundHazard": ("no sudden sound", "aucun son soudain"),
    "noMotionSimulationHazard": ("no simulated motion", "aucune simulation de mouvement"),
}

_FRENCH_LANGUAGES = {
    "ara": "arabe", "cat": "catalan", "ces": "tchèque", "cre": "cri", "cym": "gallois", "dan": "danois",
    "deu": "allemand", "ell": "grec", "eng": "anglais", "eus": "basque", "fas": "persan", "fin": "finnois",
    "fra": "français", "gla": "gaélique écossais", "gle": "irlandais", "heb": "hébreu", "hin": "hindi",
    "hun": "hongrois", "iku": "inuktitut", "ita": "italien", "jpn": "japonais", "kor": "coréen", "lat": "latin",
    "mul": "plusieurs langues", "nld": "néerlandais", "nor": "norvégien", "oji": "ojibwé", "pan": "pendjabi",
    "pol": "polonais", "por": "portugais", "ron": "roumain", "rus": "russe", "spa": "espagnol", "swe": "suédois",
    "tam": "tamoul", "tgl": "tagalog", "tur": "turc", "ukr": "ukrainien", "und": "non précisée", "urd": "ourdou",
    "vie": "vietnamien", "yid": "yidiche", "zho": "chinois",
}  # fmt: skip


def words(language: str) -> dict[str, str]:
    """Every word of the pages in a language, and `code`, the language itself."""
    place = 1 if language == FRENCH else 0
    return {"code": language, **{name: said[place] for name, said in _WORDS.items()}}


def titles(count: int, language: str) -> str:
    """How many titles."""
    shown = f"{count:,}" if language == ENGLISH else f"{count:,}".replace(",", "\u202f")
    # French: none is singular.
    is_one = count == 1 if language == ENGLISH else count < 2
    return f"{shown} {('title' if language == ENGLISH else 'titre') + ('' if is_one else 's')}"


def format_name(code: str, language: str) -> str:
    """A format's name."""
    return _FORMATS[code][language == FRENCH]


def access_name(value: str, language: str) -> str:
    """A word of the accessibility vocabulary, or the word as it is."""
    return _ACCESS[value][language == FRENCH] if value in _ACCESS else value


def language_name(code: str, language: str) -> str:
    """A language's name; in French where we know it."""
    english = languages.labels().get(code, code)
    return _FRENCH_LANGUAGES.get(code, english) if language == FRENCH else english


def size(count: int, language: str) -> str:
    """Bytes in a unit of readable size (powers of 1000)."""
    units = ("bytes", "kB", "MB", "GB") if language == ENGLISH else ("octets", "ko", "Mo", "Go")
    value, place = float(count), 0
    while value >= 1000 and place < 3:
        value, place = value / 1000, place + 1
    shown = f"{value:.0f}" if place == 0 or value >= 10 else f"{value:.1f}"
    return f"{shown if language == ENGLISH else shown.replace('.', ',')}\u00a0{units[place]}"


def duration(iso: str, language: str) -> str:
    """`PT2H0M30S` as hours and minutes."""
    text = iso.removeprefix("PT")
    hours, _, rest = text.rpartition("H")
    minutes = rest.partition("M")[0] if "M" in rest else "0"
    unit = "min" if language == FRENCH else "minutes" if minutes != "1" else "minute"
    return f"{int(hours or 0)}\u00a0h {int(minutes)}\u00a0{unit}"
