"""The search table: the searched text of every object, kept up to date by triggers.

A trigger sees every change, whatever path it came by: the session, the set-based writer, a cascade, a restore, plain
SQL. On PostgreSQL the table has a partition for each resource, so that the planner knows how frequent a text is among
the objects of each, and one trigram index. On SQLite it is an FTS5 table of trigrams.

The statements are made by the dialects, for the migrations, which create the triggers, and for `flask search rebuild`,
which writes the table anew.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.core.db.search.declaration import TABLE


class SearchEntry(Base):
    """The searched text of one object: the values of its fields, each on a line of its own, as `search_text` has them.

    `owner_id` is set where only the owner and administrators may find the object; 0 is nobody.
    """

    __tablename__ = TABLE

    resource_type: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    resource_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    owner_id: Mapped[int | None] = mapped_column(Id)
    content: Mapped[str] = mapped_column(sa.Text)

    __table_args__ = (
        sa.Index(
            "ix_search_entries_content",
            "content",
            postgresql_using="gin",
            postgresql_ops={"content": "gin_trgm_ops"},
        ),
    )
