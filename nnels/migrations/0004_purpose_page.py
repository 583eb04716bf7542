from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("nnels", "0003_words_of_published_titles_apart"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="issuetotal",
            options={"ordering": ["day", "item_id", "purpose"], "verbose_name": "use total"},
        ),
        migrations.AlterField(
            model_name="issuetotal",
            name="purpose",
            field=models.CharField(
                choices=[("api", "Api"), ("opds", "Opds"), ("admin", "Admin"), ("page", "Page")], max_length=8
            ),
        ),
        migrations.AlterField(
            model_name="urlissue",
            name="purpose",
            field=models.CharField(
                choices=[("api", "Api"), ("opds", "Opds"), ("admin", "Admin"), ("page", "Page")], max_length=8
            ),
        ),
    ]
