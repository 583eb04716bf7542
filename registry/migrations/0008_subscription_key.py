import hashlib

from django.db import migrations, models


def hash_secrets(apps, schema_editor):
    """The database keeps what signs, never what the receiver was told; a webhook without a secret gets no notices."""
    Subscription = apps.get_model("registry", "Subscription")
    for one in Subscription.objects.exclude(key=""):
        one.key = hashlib.sha256(one.key.encode()).hexdigest()
        one.save(update_fields=["key"])
    Subscription.objects.filter(key="").exclude(webhook_url="").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0007_obey_robots"),
    ]

    operations = [
        migrations.RenameField(model_name="subscription", old_name="secret", new_name="key"),
        migrations.RunPython(hash_secrets, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="subscription",
            name="key",
            field=models.CharField(blank=True, editable=False, max_length=64),
        ),
    ]
