"""Operations: long work that was accepted."""

from typing import Annotated

from api.dependencies import DB, can
from api.routing import v1
from core.wire import OperationId
from tenants.operations.models import Operation
from tenants.operations.schemas import OperationRead
from tenants.owned import find
from tenants.permissions import Actor, Permission

router = v1("Operations")


@router.get("/operations/{operation_id}", response_model=OperationRead, summary="Get an operation")
async def get_operation(
    operation_id: OperationId, db: DB, actor: Annotated[Actor, can(Permission.OPERATION_READ)]
) -> OperationRead:
    """How far long work is, and what it brought. Ask every second or so, or wait for the event `operation.completed`."""
    return OperationRead.model_validate(await find(db, Operation, actor, operation_id))
