"""Small files that stand beside a version's export."""

from django.db import models
from django.utils import timezone

from exports.models.repos import RepoVersion


class ExtraFile(models.Model):
    """A file an administrator of the repository put beside an export; its bytes are in the blob store."""

    version = models.ForeignKey(RepoVersion, on_delete=models.CASCADE, related_name="extra_files")
    name = models.CharField(max_length=100)
    key = models.CharField(max_length=200, unique=True)
    content_type = models.CharField(max_length=100)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    updated_at = models.DateTimeField(default=timezone.now)
    updated_by = models.CharField(max_length=150)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("version", "name"), name="exports_extra_unique"),)

    def __str__(self) -> str:
        return self.name
