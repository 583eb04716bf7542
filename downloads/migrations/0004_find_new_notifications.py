from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("downloads", "0003_buildpart_packed_crc")]

    operations = [
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("queued_at", None)), fields=["download"], name="downloads_notification_new"
            ),
        ),
    ]
