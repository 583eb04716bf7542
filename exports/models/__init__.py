"""What is stored: owners, repositories and their versions, content with its finished JSON, exports and imports."""

from exports.models.builds import ExportBuild, ImportJob, ImportNote, LinkUse
from exports.models.content import (
    CollectionReference,
    Concept,
    ConceptEdge,
    ConceptVersion,
    Departure,
    Fragment,
    HeadMember,
    Mapping,
    MappingVersion,
    VersionConcept,
    VersionMapping,
    VersionReference,
)
from exports.models.extras import ExtraFile
from exports.models.notices import Webhook
from exports.models.owners import ExportsToken, Membership, Organization, Profile
from exports.models.repos import Repo, RepoVersion

__all__ = [
    "CollectionReference",
    "Concept",
    "ConceptEdge",
    "ConceptVersion",
    "Departure",
    "ExportBuild",
    "ExportsToken",
    "ExtraFile",
    "Fragment",
    "HeadMember",
    "ImportJob",
    "ImportNote",
    "LinkUse",
    "Mapping",
    "MappingVersion",
    "Membership",
    "Organization",
    "Profile",
    "Repo",
    "RepoVersion",
    "VersionConcept",
    "VersionMapping",
    "VersionReference",
    "Webhook",
]
