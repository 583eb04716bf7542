from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("downloads", "0004_find_new_notifications")]

    operations = [
        migrations.AddField(
            model_name="build",
            name="etag",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
    ]
