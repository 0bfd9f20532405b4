"""The catalogue: what the migrations built is what the models say, and every tenant table has its wall and its key."""

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from core.clock import now
from core.db import Database
from core.ids import decode, encode
from core.settings import APP_ROLE, WORKER_ROLE, Settings
from migrations.run import migrate
from tenants.posts.schemas import PostCreate
from tenants.posts.service import create_post
from tenants.tables import METADATA
from tests.conftest import TestAgency
from tests.walls.things import an_account

PEOPLE = (
    "users", "passwords", "sessions", "user_keys", "mail_links", "totp_factors", "recovery_codes", "passkeys", "factor_tries",
    "password_tries",
)  # fmt: skip
GLOBAL_TABLES = ("agencies", "alembic_version", "heartbeats", "sandbox_profiles", "sandbox_posts", *PEOPLE)
"""Tables that belong to no agency, by name; `agencies` has a wall on its id, and the last ones are of people."""
EXCEPTIONS = ("members person", "members fk_members_user_id", "password_tries old")
"""A person sees in which agencies it is a member, before it is known for which one it speaks; and is no agency's row itself.
What was tried long ago can be deleted by anybody, and read by nobody."""
LINT = f"""
with t as (
  select c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relowner::regrole::text owner,
    (select attnum from pg_attribute a where a.attrelid = c.oid and attname = 'agency_id' and not attisdropped) agency
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and n.nspname = 'public' and c.relname not in {GLOBAL_TABLES})
select relname, 'no agency_id' problem from t where agency is null
union all select relname, 'agency_id is nullable' from t join pg_attribute a on a.attrelid = t.oid and a.attnum = t.agency
  where not a.attnotnull
union all select relname, 'row-level security not enabled and forced' from t
  where not (relrowsecurity and relforcerowsecurity)
union all select relname, 'no policy for the application' from t
  where not exists (select 1 from pg_policy p where p.polrelid = t.oid and '{APP_ROLE}'::regrole = any (p.polroles))
union all select relname, format('policy %s does not bind agency_id', polname) from t join pg_policy p on p.polrelid = t.oid
  where '{APP_ROLE}'::regrole = any (p.polroles) and relname || ' ' || polname not in {EXCEPTIONS}
    and (pg_get_expr(polqual, polrelid) !~ 'agency_id = \\( SELECT current_agency'
      or coalesce(pg_get_expr(polwithcheck, polrelid), '') !~ 'agency_id = \\( SELECT current_agency')
union all select relname, format('unique index %s is not led by agency_id', i.indexrelid::regclass)
  from t join pg_index i on i.indrelid = t.oid where i.indisunique and i.indkey[0] <> t.agency
union all select t.relname, format('foreign key %s lacks agency_id', k.conname)
  from t join pg_constraint k on k.conrelid = t.oid and k.contype = 'f'
  where k.confrelid <> 'agencies'::regclass and t.relname || ' ' || k.conname not in {EXCEPTIONS} and not exists (
    select 1 from unnest(k.conkey, k.confkey) x(a, b)
    join pg_attribute r on r.attrelid = k.confrelid and r.attnum = x.b where x.a = t.agency and r.attname = 'agency_id')
union all select p.proname, 'SECURITY DEFINER function' from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = 'public' and p.prosecdef
union all select v.relname, 'view without security_invoker' from pg_class v join pg_namespace n on n.oid = v.relnamespace
  where v.relkind = 'v' and n.nspname = 'public'
    and not coalesce(v.reloptions @> array['security_invoker=true'], false)
union all select c.relname, 'materialised view: row-level security does not reach it' from pg_class c
  join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'm' and n.nspname = 'public'
union all select c.relname, 'rule: it rewrites what the policies see' from pg_rewrite r join pg_class c on c.oid = r.ev_class
  join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and r.rulename <> '_RETURN'
union all select table_name, format('%s may %s', grantee, privilege_type) from information_schema.role_table_grants
  where table_schema = 'public' and grantee in ('{APP_ROLE}', '{WORKER_ROLE}', 'PUBLIC')
    and (privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE') or grantee = 'PUBLIC'
      or (grantee = '{WORKER_ROLE}' and table_name in (select relname from t) and table_name <> 'duties'))
union all select relname, format('policy %s is for everybody', polname) from t join pg_policy p on p.polrelid = t.oid
  where not polpermissive or p.polroles <> array['{APP_ROLE}'::regrole::oid] and (relname <> 'duties'
    or p.polroles <> array['{WORKER_ROLE}'::regrole::oid])
union all select 'agencies', 'row-level security not enabled and forced' from pg_class
  where oid = 'agencies'::regclass and not (relrowsecurity and relforcerowsecurity)
union all select relname, 'row-level security not enabled and forced' from pg_class
  where relname in {PEOPLE} and not (relrowsecurity and relforcerowsecurity)
union all select c.relname, format('policy %s is not about one person', polname)
  from pg_class c join pg_policy p on p.polrelid = c.oid
  where c.relname in {PEOPLE} and c.relname || ' ' || p.polname not in {EXCEPTIONS}
    and (p.polroles <> array['{APP_ROLE}'::regrole::oid]
    or coalesce(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) !~ 'current_person|app.login')
union all select m.roleid::regrole::text, format('%s is a member', m.member::regrole) from pg_auth_members m
  where m.member in ('{APP_ROLE}'::regrole, '{WORKER_ROLE}'::regrole)
union all select rolname, 'role is over-privileged' from pg_roles
  where rolname in ('{APP_ROLE}', '{WORKER_ROLE}') and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)
union all select relname, 'owned by an application role' from t where owner in ('{APP_ROLE}', '{WORKER_ROLE}')
"""


async def test_every_tenant_table_has_its_wall_and_its_key(settings: Settings) -> None:
    db = await asyncpg.connect(settings.database_url)
    assert [tuple(row) for row in await db.fetch(LINT)] == []
    await db.close()


@pytest.mark.parametrize(
    "fault",
    [
        "create table loose (id uuid primary key)",
        "create table open_ (agency_id uuid not null, id uuid, primary key (agency_id, id))",
        "alter table posts no force row level security",
        "create unique index on posts (external_ref)",
        "create view peek as select * from posts",
        "create function definer() returns int language sql security definer as 'select 1'",
        "create materialized view kept as select * from posts",
        "create rule peek as on update to posts do also select * from agencies",
        f"grant truncate on posts to {APP_ROLE}",
        f"grant references on workspaces to {APP_ROLE}",
        f"grant select on posts to {WORKER_ROLE}",
        "grant select on posts to public",
        f"create policy all_of_it on posts to {APP_ROLE} using (true)",
        "create policy everybody on posts using (agency_id = (select current_agency()))",
        "alter table agencies no force row level security",
        "alter table posts add unique (external_ref, agency_id)",
        "alter table passwords no force row level security",
        f"create policy all_of_them on users for select to {APP_ROLE} using (true)",
        f"create policy person on workspace_members for select to {APP_ROLE} using (true)",
    ],
)
async def test_the_lint_finds_what_it_is_for(settings: Settings, fault: str) -> None:
    db = await asyncpg.connect(settings.database_url)
    await db.execute(fault)
    assert await db.fetch(LINT) != []
    await db.close()


async def test_the_migrations_build_what_the_models_say(settings: Settings) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"target_metadata": METADATA, "compare_type": True})
        return list(compare_metadata(context, METADATA))

    engine = create_async_engine(settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


@pytest.mark.parametrize("column", ["agency_id", "workspace_id", "post_id", "account_id", "variant_id"])
async def test_a_publication_says_what_its_variant_says(
    settings: Settings, database: Database, agency: TestAgency, other: TestAgency, column: str
) -> None:
    tenant, workspace_id = agency.tenant, agency.workspace.id
    accounts = [decode("acc", await an_account(database, tenant, workspace_id)) for _ in range(2)]
    wishes = [PostCreate.model_validate({"text": "x", "account_ids": [encode("acc", id)]}) for id in accounts]
    # Given a post in a workspace, another post of the same agency, and another agency
    async with database.connection(tenant) as db:
        post, another = [await create_post(db, agency.actor, {}, workspace_id, wish, now()) for wish in wishes]
        variant = await db.fetchval("select variant_id from publications where post_id = $1", another.id)
    wrong = {
        "agency_id": other.tenant.agency_id, "workspace_id": other.workspace.id, "post_id": another.id,
        "account_id": accounts[1], "variant_id": variant,
    }  # fmt: skip
    # When its publication is made to say something else than its variant, past both other walls
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("alter table publications no force row level security")
    try:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await owner.execute(f"update publications set {column} = $1 where post_id = $2", wrong[column], post.id)
    finally:
        await owner.execute("alter table publications force row level security")
        await owner.close()


async def test_migrating_twice_and_from_many_at_once_changes_nothing(settings: Settings) -> None:
    import asyncio

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, migrate(settings)) for _ in range(3)))
