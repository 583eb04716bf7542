"""A real catalogue for the tests, run by pycsw in a process of its own with the packages of requirements-pycsw.lock.

    pycsw_program.py load FOLDER         make FOLDER/records.db hold exactly the records of FOLDER/xml
    pycsw_program.py serve FOLDER PORT   serve them as CSW 2.0.2 on loopback, ten records a page

Nothing of the service is imported here.
"""

import configparser
import pathlib
import sys
import wsgiref.simple_server
from typing import TYPE_CHECKING, Any

from lxml import etree
from pycsw import server
from pycsw.core import admin, config, repository, util

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

TABLE = "records"
PAGE = 10
# pycsw asks for every one of these when it writes its capabilities
ABOUT = [
    "identification_title",
    "identification_abstract",
    "identification_keywords",
    "identification_keywords_type",
    "identification_fees",
    "identification_accessconstraints",
    "provider_name",
    "provider_url",
    "contact_name",
    "contact_position",
    "contact_address",
    "contact_city",
    "contact_stateorprovince",
    "contact_postalcode",
    "contact_country",
    "contact_phone",
    "contact_fax",
    "contact_email",
    "contact_url",
    "contact_hours",
    "contact_instructions",
    "contact_role",
]


def database(folder: pathlib.Path) -> str:
    return f"sqlite:///{folder}/records.db"


def load(folder: pathlib.Path) -> None:
    """Empty the repository and fill it again; what pycsw cannot read itself is put in with its columns."""
    context = config.StaticContext()
    if not (folder / "records.db").exists():
        admin.setup_db(database(folder), TABLE, "")
    admin.delete_records(context, database(folder), TABLE)
    admin.load_records(context, database(folder), TABLE, str(folder / "xml"))
    store = repository.Repository(database(folder), context, table=TABLE)
    known = {name for (name,) in store.session.query(store.dataset.identifier)}
    for path in sorted((folder / "xml").glob("*.xml")):
        root = etree.parse(str(path)).getroot()
        if "19115/-3/mdb" in root.tag:
            insert_newer(store, root)
            known.add(path.name)
    sys.stdout.write(f"{len(known)}\n")


def insert_newer(store: Any, root: etree._Element) -> None:
    """An ISO 19115-3 record, which this pycsw stores and serves but does not read."""
    row = store.dataset()
    row.identifier = root.findtext(".//{*}metadataIdentifier//{*}code/{*}CharacterString")
    row.title = root.findtext(".//{*}title/{*}CharacterString")
    row.typename = "gmd:MD_Metadata"  # records of this type are served as they are
    row.schema = etree.QName(root).namespace
    row.mdsource = "local"
    row.insert_date = util.get_today_and_now()
    row.xml = etree.tostring(root, encoding="unicode")
    row.anytext = " ".join(str(text) for text in root.itertext())
    row.wkt_geometry = "POLYGON((-158 21, -158 22, -157 22, -157 21, -158 21))"
    store.insert(row, "local", util.get_today_and_now())


def serve(folder: pathlib.Path, port: int) -> None:
    settings = configparser.ConfigParser()
    settings.read_dict(
        {
            "server": {
                "home": str(pathlib.Path(server.__file__).parent),
                "url": f"http://127.0.0.1:{port}/csw",
                "mimetype": "application/xml; charset=UTF-8",
                "encoding": "UTF-8",
                "language": "en-US",
                "maxrecords": str(PAGE),
                "profiles": "apiso",
            },
            "manager": {"transactions": "false"},
            "metadata:main": dict.fromkeys(ABOUT, "test"),
            "repository": {"database": database(folder), "table": TABLE},
        }
    )

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        environ["local.app_root"] = str(folder)
        catalogue = server.Csw(settings, environ)
        status, body = catalogue.dispatch_wsgi()
        start_response(status, [("Content-Type", catalogue.contenttype), ("Content-Length", str(len(body)))])
        return [body]

    wsgiref.simple_server.make_server("127.0.0.1", port, application).serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "load":
        load(pathlib.Path(sys.argv[2]))
    else:
        serve(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
