"""What must always hold between items and what is derived from them; for `manage.py doctor`."""

from collections.abc import Iterator

from django.db import connection

_BREACHES = {
    "published titles cannot be found by keyword": """
        FROM nnels_item i WHERE i.published
        AND NOT EXISTS (SELECT FROM nnels_searchentry s WHERE s.item_id = i.id AND s.title = i.label_sort)
    """,
    "titles that are not published can be found by keyword": """
        FROM nnels_searchentry s JOIN nnels_item i ON i.id = s.item_id WHERE NOT i.published
    """,
    "published titles have a tombstone": """
        FROM nnels_tombstone t JOIN nnels_item i ON i.id = t.item_id WHERE i.published
    """,
    "titles list other formats than those of their files": """
        FROM nnels_item i LEFT JOIN (
            SELECT item_id, array_agg(DISTINCT format::text ORDER BY format::text) AS held
            FROM nnels_file WHERE NOT missing GROUP BY item_id
        ) AS f ON f.item_id = i.id
        WHERE coalesce(f.held, ARRAY[]::text[])
            <> (SELECT coalesce(array_agg(one ORDER BY one), ARRAY[]::text[]) FROM unnest(i.formats) AS one)
    """,
    "blobs of files count as retired": "FROM nnels_file JOIN nnels_retiredblob USING (blob_key)",
}


def invariants() -> Iterator[str]:
    """A sentence for each breach."""
    with connection.cursor() as cursor:
        for breach, source in _BREACHES.items():
            cursor.execute(f"SELECT count(*) {source}")
            if count := cursor.fetchone()[0]:
                yield f"{count} {breach}"
