"""B: FastAPI with a SQLModel session and response models, as its tutorial has it. No authentication, no row-level security."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, PlainSerializer
from sqlalchemy import DateTime
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from bench.baselines.wire import Instant, typeid


class Workspace(SQLModel, table=True):
    __tablename__ = "workspaces"
    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    name: str
    time_zone: str
    late_policy: str = "ask"
    late_window_s: int = 21_600
    four_eyes: bool = False
    closed_at: datetime | None = Field(None, sa_type=DateTime(timezone=True))
    erase_at: datetime | None = Field(None, sa_type=DateTime(timezone=True))
    version: int = 1
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(sa_type=DateTime(timezone=True))


class Wish(BaseModel):
    name: str = Field(min_length=1, max_length=200)
    time_zone: str


class Read(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: Annotated[UUID, PlainSerializer(lambda value: typeid("wsp_", value), return_type=str)]
    name: str
    time_zone: str
    late_policy: str
    late_window_s: int
    four_eyes: bool
    closed_at: Instant | None
    erase_at: Instant | None
    version: int
    created_at: Instant
    updated_at: Instant


URL = os.environ["BENCH_DSN"].replace("postgresql://", "postgresql+asyncpg://", 1)
ENGINE = create_async_engine(URL, pool_size=10, max_overflow=0, connect_args={"server_settings": {"jit": "off"}})
SESSIONS = async_sessionmaker(ENGINE, class_=AsyncSession, expire_on_commit=False)
app = FastAPI()


async def session() -> AsyncIterator[AsyncSession]:
    async with SESSIONS() as opened:
        yield opened


DB = Annotated[AsyncSession, Depends(session)]


@app.get("/{agency_id}/workspaces/{id}", response_model=Read)
async def get_workspace(agency_id: UUID, id: UUID, db: DB) -> Workspace:
    return (await db.exec(select(Workspace).where(Workspace.agency_id == agency_id, Workspace.id == id))).one()


@app.post("/{agency_id}/workspaces", response_model=Read, status_code=201)
async def create_workspace(agency_id: UUID, wish: Wish, db: DB) -> Workspace:
    db.add(row := Workspace(agency_id=agency_id, id=uuid7(), created_at=(at := datetime.now(UTC)), updated_at=at, **dict(wish)))
    await db.commit()
    return row
