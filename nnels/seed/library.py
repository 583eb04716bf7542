"""About forty public-domain titles with their opening words, in ten languages."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Work:
    """A title: `language` T code, `text` opening sentences of the public-domain text."""

    title: str
    creator: str
    year: str
    language: str
    subjects: tuple[str, ...]
    text: tuple[str, ...]
    isbn: str = ""
    nid: int | None = None
    uuid: str = ""
    description: str = ""
    is_open: bool = False
    is_published: bool = True
    more: tuple[str, ...] = ()


WORKS = (
    Work(
        "Moby-Dick", "Melville, Herman", "1851", "eng", ("Whaling", "Sea stories"),
        ("Call me Ishmael.",
         "Some years ago, never mind how long precisely, having little or no money in my purse, and nothing particular "
         "to interest me on shore, I thought I would sail about a little and see the watery part of the world.",
         "It is a way I have of driving off the spleen and regulating the circulation."),
        isbn="9780142437247", nid=6804, uuid="2b2532ea-5c1c-4d53-9d7c-0f2d6a3b6804",
        description="A sailor's tale of the whaling ship Pequod and her captain's hunt for the white whale.",
        more=("txt", "brf", "daisy202"),
    ),
    Work("Typee", "Melville, Herman", "1846", "eng", ("Marquesas Islands", "Travel"),
         ("Six months at sea! Yes, reader, as I live, six months out of sight of land; cruising after the sperm-whale "
          "beneath the scorching sun of the Line, and tossed on the billows of the wide-rolling Pacific.",)),
    Work("Bartleby, the Scrivener", "Melville, Herman", "1853", "eng", ("Clerks", "New York (N.Y.)"),
         ("I am a rather elderly man.", "I would prefer not to."), more=("txt",)),
    Work("Pride and Prejudice", "Austen, Jane", "1813", "eng", ("Courtship", "England"),
         ("It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want "
          "of a wife.",), isbn="9780141439518", is_open=True, more=("txt", "brf")),
    Work("Emma", "Austen, Jane", "1815", "eng", ("Matchmaking", "England"),
         ("Emma Woodhouse, handsome, clever, and rich, with a comfortable home and happy disposition, seemed to unite "
          "some of the best blessings of existence.",)),
    Work("A Tale of Two Cities", "Dickens, Charles", "1859", "eng", ("France--History--Revolution",),
         ("It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
          "foolishness.",), more=("txt",)),
    Work("Great Expectations", "Dickens, Charles", "1861", "eng", ("Orphans", "England"),
         ("My father's family name being Pirrip, and my Christian name Philip, my infant tongue could make of both "
          "names nothing longer or more explicit than Pip.",), more=("brf",)),
    Work("Jane Eyre", "Brontë, Charlotte", "1847", "eng", ("Governesses", "England"),
         ("There was no possibility of taking a walk that day.",), isbn="9780141441146"),
    Work("Wuthering Heights", "Brontë, Emily", "1847", "eng", ("Yorkshire (England)",),
         ("I have just returned from a visit to my landlord, the solitary neighbour that I shall be troubled with.",)),
    Work("Frankenstein", "Shelley, Mary Wollstonecraft", "1818", "eng", ("Horror tales", "Scientists"),
         ("You will rejoice to hear that no disaster has accompanied the commencement of an enterprise which you have "
          "regarded with such evil forebodings.",), is_open=True),
    Work("Dracula", "Stoker, Bram", "1897", "eng", ("Vampires", "Horror tales"),
         ("Left Munich at 8:35 P.M., on 1st May, arriving at Vienna early next morning.",)),
    Work("Treasure Island", "Stevenson, Robert Louis", "1883", "eng", ("Pirates", "Adventure stories"),
         ("Squire Trelawney, Dr. Livesey, and the rest of these gentlemen having asked me to write down the whole "
          "particulars about Treasure Island, I take up my pen.",), more=("txt", "daisy202")),
    Work("The Time Machine", "Wells, H. G.", "1895", "eng", ("Time travel", "Science fiction"),
         ("The Time Traveller was expounding a recondite matter to us.",)),
    Work("The War of the Worlds", "Wells, H. G.", "1898", "eng", ("Science fiction", "Mars (Planet)"),
         ("No one would have believed in the last years of the nineteenth century that this world was being watched "
          "keenly and closely by intelligences greater than man's.",), is_open=True, more=("txt",)),
    Work("The Adventures of Sherlock Holmes", "Doyle, Arthur Conan", "1892", "eng", ("Detectives", "London (England)"),
         ("To Sherlock Holmes she is always the woman.",), more=("txt", "brf")),
    Work("Adventures of Huckleberry Finn", "Twain, Mark", "1884", "eng", ("Mississippi River", "Boys"),
         ("You don't know about me without you have read a book by the name of The Adventures of Tom Sawyer.",)),
    Work("Little Women", "Alcott, Louisa May", "1868", "eng", ("Sisters", "New England"),
         ("Christmas won't be Christmas without any presents, grumbled Jo, lying on the rug.",)),
    Work("Anne of Green Gables", "Montgomery, L. M.", "1908", "eng", ("Orphans", "Prince Edward Island"),
         ("Mrs. Rachel Lynde lived just where the Avonlea main road dipped down into a little hollow.",),
         isbn="9780141321592", is_open=True, more=("txt", "brf")),
    Work("Roughing It in the Bush", "Moodie, Susanna", "1852", "eng", ("Frontier and pioneer life", "Ontario"),
         ("The dreadful cholera was depopulating Quebec and Montreal, when our ship cast anchor off Grosse Isle.",)),
    Work("The Call of the Wild", "London, Jack", "1903", "eng", ("Dogs", "Klondike River Valley (Yukon)"),
         ("Buck did not read the newspapers, or he would have known that trouble was brewing.",)),
    Work("Vingt mille lieues sous les mers", "Verne, Jules", "1870", "fra", ("Sous-marins", "Baleines", "Océan"),
         ("L'année 1866 fut marquée par un événement bizarre, un phénomène inexpliqué et inexplicable que personne n'a "
          "sans doute oublié.",), isbn="9782253006329", more=("txt",)),
    Work("Le tour du monde en quatre-vingts jours", "Verne, Jules", "1872", "fra", ("Voyages autour du monde",),
         ("En l'année 1872, la maison portant le numéro 7 de Saville-row, Burlington Gardens, était habitée par "
          "Phileas Fogg, esq.",), is_open=True),
    Work("Les Misérables", "Hugo, Victor", "1862", "fra", ("Paris (France)", "Pauvreté"),
         ("En 1815, M. Charles-François-Bienvenu Myriel était évêque de Digne.",), more=("txt", "brf")),
    Work("Notre-Dame de Paris", "Hugo, Victor", "1831", "fra", ("Paris (France)", "Moyen Âge"),
         ("Il y a aujourd'hui trois cent quarante-huit ans six mois et dix-neuf jours que les Parisiens s'éveillèrent "
          "au bruit de toutes les cloches.",)),
    Work("Madame Bovary", "Flaubert, Gustave", "1857", "fra", ("Normandie (France)",),
         ("Nous étions à l'Étude, quand le Proviseur entra suivi d'un nouveau habillé en bourgeois.",)),
    Work("Germinal", "Zola, Émile", "1885", "fra", ("Mineurs", "Grèves"),
         ("Dans la plaine rase, sous la nuit sans étoiles, un homme suivait seul la grande route de Marchiennes à "
          "Montsou.",)),
    Work("Maria Chapdelaine", "Hémon, Louis", "1913", "fra", ("Québec (Province)", "Colons"),
         ("Ite, missa est.", "La porte de l'église de Péribonka s'ouvrit et les hommes commencèrent à sortir."),
         description="Récit du Canada français.", is_open=True, more=("txt",)),
    Work("Un été québécois", "Anonyme", "1899", "fra", ("Québec (Province)", "Saisons"),
         ("L'été venait tard sur les rives du fleuve, et il repartait tôt.",), is_open=True),
    Work("Contes", "Perrault, Charles", "1697", "fra", ("Contes de fées",),
         ("Il était une fois une petite fille de village, la plus jolie qu'on eût su voir.",), more=("daisy202",)),
    Work("Don Quijote de la Mancha", "Cervantes Saavedra, Miguel de", "1605", "spa", ("Caballeros y caballería",),
         ("En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo.",)),
    Work("Niebla", "Unamuno, Miguel de", "1914", "spa", ("Novela filosófica",),
         ("Al aparecer Augusto a la puerta de su casa extendió el brazo derecho.",)),
    Work("Die Verwandlung", "Kafka, Franz", "1915", "deu", ("Verwandlung", "Familie"),
         ("Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett zu einem "
          "ungeheueren Ungeziefer verwandelt.",), more=("txt",)),
    Work("Faust", "Goethe, Johann Wolfgang von", "1808", "deu", ("Gelehrte", "Teufel"),
         ("Habe nun, ach! Philosophie, Juristerei und Medizin durchaus studiert.",)),
    Work("Dom Casmurro", "Machado de Assis", "1899", "por", ("Ciúme", "Rio de Janeiro"),
         ("Uma noite destas, vindo da cidade para o Engenho Novo, encontrei no trem da Central um rapaz aqui do "
          "bairro.",)),
    Work("Анна Каренина", "Толстой, Лев Николаевич", "1878", "rus", ("Семья", "Россия"),
         ("Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.",)),
    Work("Ὀδύσσεια", "Ὅμηρος", "", "ell", ("Επική ποίηση",),
         ("Ἄνδρα μοι ἔννεπε, Μοῦσα, πολύτροπον, ὃς μάλα πολλὰ πλάγχθη.",)),
    Work("吾輩は猫である", "夏目, 漱石", "1905", "jpn", ("猫", "小説"),
         ("吾輩は猫である。名前はまだ無い。", "どこで生れたかとんと見当がつかぬ。"), is_open=True),
    Work("كليلة ودمنة", "ابن المقفع", "", "ara", ("حكايات",),
         ("قال دبشليم الملك لبيدبا الفيلسوف: اضرب لي مثلا.",)),
    Work("אגדות", "ביאליק, חיים נחמן", "1908", "heb", ("אגדה",),
         ("בראשית היה הסיפור.",)),
    Work("Carmilla", "Le Fanu, Joseph Sheridan", "1872", "eng", ("Vampires",),
         ("In Styria, we, though by no means magnificent people, inhabit a castle, or schloss.",), is_published=False),
    Work("The Wind in the Willows", "Grahame, Kenneth", "1908", "eng", ("Animals", "Rivers"),
         ("The Mole had been working very hard all the morning, spring-cleaning his little home.",),
         is_published=False),
)  # fmt: skip
