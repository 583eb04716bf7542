"""How the big tables lie on disk: what Django's models cannot say. Kept beside the migration that applies it.

With lz4, lines are compressed and stay in the row (MAIN), because every build reads them and the detour through the
TOAST table costs more than the copy; `raw` and `words` go out of line. On a server built without lz4 nothing is
compressed and long values go out of line: its pglz would cost an ingest more than everything else together.
"""

from __future__ import annotations

from django.db import migrations

TABLES = ("downloads_record", "downloads_mediarecord")

_STORAGE = """
DO $$ BEGIN
    ALTER TABLE {table}
        ALTER COLUMN line_index SET COMPRESSION lz4, ALTER COLUMN line_raw SET COMPRESSION lz4,
        ALTER COLUMN words SET COMPRESSION lz4, ALTER COLUMN raw SET COMPRESSION lz4,
        ALTER COLUMN line_index SET STORAGE MAIN, ALTER COLUMN line_raw SET STORAGE MAIN;
EXCEPTION WHEN feature_not_supported THEN
    ALTER TABLE {table}
        ALTER COLUMN line_index SET STORAGE EXTERNAL, ALTER COLUMN line_raw SET STORAGE EXTERNAL,
        ALTER COLUMN words SET STORAGE EXTERNAL, ALTER COLUMN raw SET STORAGE EXTERNAL;
END $$
"""

# The expression of formats.words.LEXEMES_SQL, frozen here as migrations must be.
_WORDS = (
    "CREATE INDEX {table}_words ON {table} USING gin "
    r"(array_to_tsvector(string_to_array(split_part(words, E'\x05', 1), ' ')))"
)


# For the operator fuzzy; trigrams come with the core.
_EDITS = "CREATE EXTENSION IF NOT EXISTS fuzzystrmatch"

# Django adds it for LIKE under other collations; identifiers are compared in C, where the primary key serves both.
_LIKE = "DROP INDEX IF EXISTS downloads_identifier_text_db9c80bf_like"


def operations() -> list[migrations.RunSQL]:
    """The statements for both tables, with their inverses."""
    tables = [
        operation
        for table in TABLES
        for operation in (
            migrations.RunSQL(_STORAGE.format(table=table), migrations.RunSQL.noop),
            migrations.RunSQL(_WORDS.format(table=table), f"DROP INDEX {table}_words"),
        )
    ]
    return [
        migrations.RunSQL(_EDITS, migrations.RunSQL.noop),
        migrations.RunSQL(_LIKE, migrations.RunSQL.noop),
        *tables,
    ]
