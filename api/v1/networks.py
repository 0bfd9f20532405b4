"""Networks: what each can do, as data."""

from typing import Annotated

from fastapi import Path, Request

from api.dependencies import DB, can
from api.routing import v1
from core.errors import Missing
from tenants.accounts.capabilities import NetworkList, NetworkRead, read_network
from tenants.accounts.schemas import NETWORK_LENGTH_MAX
from tenants.permissions import Actor, Permission

router = v1("Networks")


@router.get("/networks", response_model=NetworkList, summary="List networks")
async def list_networks(db: DB, actor: Annotated[Actor, can(Permission.NETWORK_READ)], request: Request) -> NetworkList:
    """Every social network that is served here, with its limits and what it can do. They are few: one page has them all."""
    networks = request.app.state.networks
    return NetworkList(data=[read_network(networks[name].capabilities) for name in sorted(networks)])


@router.get("/networks/{name}", response_model=NetworkRead, summary="Get a network")
async def get_network(
    name: Annotated[str, Path(max_length=NETWORK_LENGTH_MAX, examples=["sandbox"])],
    db: DB, actor: Annotated[Actor, can(Permission.NETWORK_READ)], request: Request,
) -> NetworkRead:  # fmt: skip
    """One social network."""
    network = request.app.state.networks.get(name)
    if network is None:
        raise Missing
    return read_network(network.capabilities)
