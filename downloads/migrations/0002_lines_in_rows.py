"""Without lz4 nothing is compressed, so lines went out of line; looked up there they cost a build more than deflate does.

Where rows may be as long as a page (or half of one, for media), the longest values still go out, `words` and `raw` as a
rule, and the lines stay.
"""

from django.db import migrations

_MOST = {"downloads_record": 8160, "downloads_mediarecord": 4080}
_SQL = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_attribute
                   WHERE attrelid = '{table}'::regclass AND attname = 'line_raw' AND attcompression = 'l') THEN
        ALTER TABLE {table} SET (toast_tuple_target = {most});
    END IF;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("downloads", "0001_initial")]

    operations = [
        migrations.RunSQL(_SQL.format(table=table, most=most), f"ALTER TABLE {table} RESET (toast_tuple_target)")
        for table, most in _MOST.items()
    ]
