"""Alembic's migrations run, by engines of both kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql as pg

from tests.support.engines import Runner

ENVIRONMENT = {
    "sync": """
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(connection=connection, version_table="sa_versions", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
""",
    "async": """
import asyncio

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

def migrate(connection):
    context.configure(connection=connection, version_table="sa_versions", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(context.config.attributes["url"], poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()

asyncio.run(main())
""",
}

FIRST = """
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision, down_revision = "one", None

def upgrade():
    table = op.create_table(
        "sa_stock",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", pg.ENUM("raw", "ready", name="sa_kind")),
    )
    op.bulk_insert(table, [{"name": f"item {number}", "kind": "raw"} for number in range(100)])

def downgrade():
    op.drop_table("sa_stock")
    op.execute("DROP TYPE sa_kind")
"""

SECOND = """
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision, down_revision = "two", "one"

def upgrade():
    op.add_column("sa_stock", sa.Column("tags", pg.ARRAY(sa.Text), server_default=sa.text("'{}'")))
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE sa_kind ADD VALUE IF NOT EXISTS 'sold'")
        op.create_index("sa_stock_name", "sa_stock", ["name"], unique=True, postgresql_concurrently=True)
    op.execute("UPDATE sa_stock SET kind = 'sold', tags = '{a,b}' WHERE id <= 10")

def downgrade():
    op.drop_index("sa_stock_name")
    op.drop_column("sa_stock", "tags")
"""

METADATA = sa.MetaData()
STOCK = sa.Table(
    "sa_stock",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", pg.ENUM("raw", "ready", "sold", name="sa_kind")),
    sa.Column("tags", pg.ARRAY(sa.Text), server_default=sa.text("'{}'")),
    sa.Index("sa_stock_name", "name", unique=True),
)


@pytest.fixture
def config(run: Runner, tmp_path: Path) -> Config:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT["async" if run.is_async else "sync"])
    (tmp_path / "versions" / "one.py").write_text(FIRST)
    (tmp_path / "versions" / "two.py").write_text(SECOND)
    config = Config()
    config.set_main_option("script_location", str(tmp_path).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = run.url
    return config


def is_ours(name: str | None, kind: str, parents: Any) -> bool:
    return kind != "table" or name == STOCK.name


def differences(conn: sa.Connection) -> list[Any]:
    context = MigrationContext.configure(conn, opts={"include_name": is_ours, "compare_server_default": True})
    found: list[Any] = compare_metadata(context, METADATA)
    return found


def test_migrations(run: Runner, config: Config) -> None:
    sold = sa.select(sa.func.count()).select_from(STOCK).where(STOCK.c.kind == "sold", STOCK.c.tags == ["a", "b"])
    try:
        command.upgrade(config, "head")
        # What is there is what the metadata say: the reflection of both agrees.
        assert run.connection(differences) == []
        assert run.connection(lambda conn: conn.scalar(sold)) == 10
        command.downgrade(config, "one")
        assert [change[0] for change in run.connection(differences)] == ["add_column", "add_index"]
        command.upgrade(config, "head")
        command.downgrade(config, "base")
        assert [change[0] for change in run.connection(differences)] == ["add_table", "add_index"]
    finally:

        def tidy(engine: sa.Engine) -> None:
            with engine.begin() as conn:
                conn.execute(sa.text("DROP TABLE IF EXISTS sa_stock, sa_versions; DROP TYPE IF EXISTS sa_kind"))

        run(tidy)
