"""The page of a share link: a post as a client without an account may see it.

A link is opened by a form and not by looking at its address: programs that look at mail open every link in it, and none of them
spends an opening. From then on the page and its pictures are one opening in this browser, for an hour.
"""

from datetime import timedelta
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from api import sharing
from api.pages.people.frame import go, page
from api.pages.people.routes import people
from api.signed_in import give_cookie, own_name
from core.clock import now
from core.crypto import same, sign
from core.errors import Missing
from core.wire import AssetVersionId
from tenants.sharing import service
from tenants.sharing.service import Sight
from tenants.sharing.tokens import PAGE_PATH, PresentedLink

router = people()
COVER, POST = "shared_cover.html", "shared.html"
PATH = PAGE_PATH + "{text}"
OPENED_FOR = timedelta(hours=1)
"""How long what was opened is shown again in the same browser: a reload, another language or a look back is no other opening."""
NAME_LENGTH = 16
"""Of the link's hash, in the name of its cookie: who looks at several links keeps each of them open."""


@router.get(PATH)
async def shared_page(text: str, request: Request) -> Response:
    """Show the post to who has opened the link, and to everybody else that there is one. Nothing is counted."""
    presented = sharing.present(request, text)
    if _has_opened(request, presented):
        sight = await sharing.ask(request, presented, service.look_again)
        response = _post_page(request, sight, text)
    else:
        response = page(request, COVER, workspace=await sharing.ask(request, presented, service.find_cover))
    response.headers.update(sharing.UNLISTED)
    return response


@router.post(PATH)
async def open_by_form(text: str, request: Request) -> Response:
    """Open the link, which is counted once for the page and its pictures, and lead to the post."""
    presented = sharing.present(request, text)
    response = go(PAGE_PATH + text)
    if not _has_opened(request, presented):
        await sharing.ask(request, presented, service.open_link)
        _note_opened(request, response, presented)
    return response


@router.get(PATH + "/media/{asset_version_id}")
async def shared_picture(text: str, asset_version_id: AssetVersionId, request: Request) -> Response:
    """One picture of the post, for the page of who has opened the link."""
    presented = sharing.present(request, text)
    if not _has_opened(request, presented):
        raise Missing
    response = await sharing.send_file(request, presented, asset_version_id, "inline")
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def _post_page(request: Request, sight: Sight, text: str) -> Response:
    known = request.app.state.networks
    titles = {
        one.network: known[one.network].capabilities.title if one.network in known else one.network
        for one in sight.shared.deliveries
    }
    return page(
        request, POST, shared=sight.shared, titles=titles, zone=ZoneInfo(sight.time_zone), zone_name=sight.time_zone,
        pictures=f"{PAGE_PATH}{text}/media/",
    )  # fmt: skip


def _cookie(presented: PresentedLink) -> str:
    return f"shared-{presented.hash.hex()[:NAME_LENGTH]}"


def _seal(request: Request, presented: PresentedLink, until: str) -> str:
    """Sign until when a browser has a link open: for this link alone, and nothing that opens another one follows from it."""
    return sign(request.app.state.house.secret, "opened share link", presented.hash + until.encode()).hex()


def _note_opened(request: Request, response: Response, presented: PresentedLink) -> None:
    until = str(int((now() + OPENED_FOR).timestamp()))
    text = f"{until}.{_seal(request, presented, until)}"
    give_cookie(response, request.app.state.settings, _cookie(presented), text, OPENED_FOR)


def _has_opened(request: Request, presented: PresentedLink) -> bool:
    """Say whether this browser has opened the link within the hour. Whether the link still lives is not in it."""
    until, _, seal = request.cookies.get(own_name(request.app.state.settings, _cookie(presented)), "").partition(".")
    if not same(seal.encode(), _seal(request, presented, until).encode()):
        return False
    return int(until) > now().timestamp()
