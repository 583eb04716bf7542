from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("downloads", "0002_lines_in_rows")]

    operations = [
        migrations.AddField(
            model_name="buildpart",
            name="packed_crc",
            field=models.PositiveBigIntegerField(default=0),
        ),
    ]
