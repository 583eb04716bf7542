import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models

FILL = """
INSERT INTO nnels_searchentry (item_id, title, search)
SELECT id, label_sort, search FROM nnels_item WHERE published AND search IS NOT NULL;
"""
UNFILL = """
UPDATE nnels_item AS i SET search = s.search FROM nnels_searchentry s WHERE s.item_id = i.id;
"""
QUERY = """
CREATE OR REPLACE FUNCTION nnels_query(terms text) RETURNS tsquery LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- Stemmers that agree are asked once: most words are the same to all three.
    SELECT CASE
        WHEN english = french AND french = plain THEN plain
        WHEN english = french OR english = plain THEN french || plain
        WHEN french = plain THEN english || plain
        ELSE english || french || plain
    END
    FROM (
        SELECT websearch_to_tsquery('nnels_english', terms) AS english,
            websearch_to_tsquery('nnels_french', terms) AS french, websearch_to_tsquery('nnels_simple', terms) AS plain
    ) AS stemmed
$$;
"""
UNQUERY = """
CREATE OR REPLACE FUNCTION nnels_query(terms text) RETURNS tsquery LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT websearch_to_tsquery('nnels_english', terms) || websearch_to_tsquery('nnels_french', terms)
        || websearch_to_tsquery('nnels_simple', terms)
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("nnels", "0002_history_outlives_items_and_accounts")]

    operations = [
        migrations.CreateModel(
            name="SearchEntry",
            fields=[
                (
                    "item",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="nnels.item",
                    ),
                ),
                ("title", models.TextField()),
                ("search", django.contrib.postgres.search.SearchVectorField()),
            ],
            options={"ordering": ["item_id"]},
        ),
        migrations.RunSQL(FILL, UNFILL),
        # The rows above leave deferred checks, which must be done before the table is changed again.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", migrations.RunSQL.noop),
        migrations.RemoveIndex(model_name="item", name="nnels_item_search"),
        migrations.RemoveField(model_name="item", name="search"),
        migrations.AddIndex(
            model_name="searchentry",
            index=django.contrib.postgres.indexes.GinIndex(
                fastupdate=False, fields=["search"], name="nnels_searchentry_search"
            ),
        ),
        migrations.RunSQL(QUERY, UNQUERY),
    ]
