"""Application of the gallery: one function a page. The door decides what is answered (flows/view/door.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from imagemill.data.errors import BadRow, ImagemillError, RecipeError
from imagemill.data.messages import MAX_REASON, message
from imagemill.data.view.gallery import Gallery
from imagemill.data.view.thumbnails import SIZES, Thumbnails, whole_image
from imagemill.flows.view.links import MAX_PAGE_ROWS, PAGE_ROWS, number_of, query_of, row_link
from imagemill.flows.view.pages import Pages

STATIC = Path(__file__).parent / "static"

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

UNCHANGING = "private, max-age=86400, immutable"
"""Cache of an image whose file is named by its content."""


class App:
    """The pages of one gallery."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._pages = Pages(gallery)
        self._thumbnails = Thumbnails()
        self._static = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}

    def routes(self) -> list[Route]:
        """Every address, each answered in a thread."""
        pages: dict[str, Callable[[Request], Response]] = {
            "/": self.grid,
            "/at": self.at,
            "/row/{key}": self.row,
            "/related/{key}": self.related,
            "/image/{area}/{name}/{row:int}/{column}": self.image,
            "/scores": self.scores,
            "/border": self.border,
            "/pairs": self.pairs,
            "/set-aside": self.set_aside,
            "/runs": self.runs,
            "/state": self.state,
            "/static/{name}": self.static,
        }
        return [Route(path, _explained(self, page)) for path, page in pages.items()]

    def grid(self, request: Request) -> Response:
        """Rows of a query, in pages."""
        query = query_of(request.query_params)
        rows = number_of(request.query_params, "rows", PAGE_ROWS, MAX_PAGE_ROWS) or PAGE_ROWS
        return self._pages.grid(query, number_of(request.query_params, "page", 0), rows)

    def at(self, request: Request) -> Response:
        """The page of the row at a position of a query."""
        query = query_of(request.query_params)
        page = self._gallery.page(query, number_of(request.query_params, "i", 0), 1)
        if not page.rows:
            return self._pages.message("There is no such row.", 404)
        return RedirectResponse(row_link(page.rows[0], query), 303)

    def row(self, request: Request) -> Response:
        """One row: its images, its scores and where it is from."""
        given = request.query_params
        place = given.get("area", ""), given.get("file", ""), number_of(given, "n", -1)
        row = self._gallery.row(request.path_params["key"], *place)
        if row is None:
            return self._pages.message("There is no row with this key: it is not in the dataset, or not any more.", 404)
        position = number_of(given, "i", -1)
        return self._pages.row(row, query_of(given), position if position >= 0 else None)

    def related(self, request: Request) -> Response:
        """The other candidates and turns of a row, as a part of its page."""
        return self._pages.related(request.path_params["key"], request.query_params.get("id", ""))

    def image(self, request: Request) -> Response:
        """An image, or its thumbnail."""
        path, given = request.path_params, request.query_params
        size, place = number_of(given, "size", 0), number_of(given, "place", -1)
        at = (path["area"], path["name"], path["row"], path["column"], place if place >= 0 else None)

        def read() -> bytes | None:
            return self._gallery.image(*at, key=given.get("key", ""))

        try:
            if size:
                found = self._thumbnails.get(at, min(SIZES, key=lambda known: abs(known - size)), read)
            else:
                content = read()
                found = whole_image(content) if content is not None else None
        except BadRow:
            return self._file("unreadable.svg")
        if found is None:
            return self._file("missing.svg")
        # A name with a part of the content's hash is never used for another content.
        cache = UNCHANGING if path["name"].count("-") == 2 else "no-store"
        return Response(found[0], media_type=found[1], headers={"cache-control": cache})

    def scores(self, request: Request) -> Response:
        """Histograms of the scores, with thresholds."""
        return self._pages.scores(query_of(request.query_params), request.query_params.getlist("column"))

    def border(self, request: Request) -> Response:
        """Images just below and just above a threshold, as a part of the page of scores."""
        given = request.query_params
        return self._pages.border(query_of(given), given.get("column", ""), given.get("value", ""))

    def pairs(self, request: Request) -> Response:
        """Preference pairs, side by side."""
        return self._pages.pairs(number_of(request.query_params, "page", 0))

    def set_aside(self, request: Request) -> Response:
        """Rows that could not be built, with the reasons."""
        given = request.query_params
        return self._pages.set_aside(given.get("words", ""), number_of(given, "page", 0))

    def runs(self, request: Request) -> Response:
        """The runs that built the dataset, with their figures."""
        return self._pages.runs()

    def state(self, request: Request) -> Response:
        """The version of what there is to see, for a page that is open."""
        state = self._gallery.state()
        return JSONResponse({"version": state.version, "rows": dict(state.rows), "finished": state.is_finished})

    def static(self, request: Request) -> Response:
        """Styles and scripts."""
        return self._file(request.path_params["name"])

    def _file(self, name: str) -> Response:
        if name not in self._static:
            return self.not_found()
        return Response(self._static[name], media_type=TYPES[Path(name).suffix])

    def not_found(self) -> Response:
        """The page for an unknown address."""
        return self._pages.message("There is no such page.", 404)

    def failed(self, request: Request, error: Exception) -> Response:
        """A page with an error's message: a query that cannot be used, or a file that cannot be read."""
        text = message(error, MAX_REASON)
        if isinstance(error, RecipeError):
            return self._pages.bad_query(text.replace("--where", "The filter", 1), request.query_params)
        try:
            return self._pages.message(text, 500)
        except ImagemillError:
            # Not even the dataset's name can be read.
            return PlainTextResponse(f"{text}\n", 500)


def make_app(gallery: Gallery) -> Starlette:
    """The ASGI application of a gallery, to be put behind a door."""
    app = App(gallery)
    return Starlette(routes=app.routes(), exception_handlers={404: lambda request, _: app.not_found()})


def _explained(app: App, page: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        try:
            return page(request)
        except ImagemillError as error:
            return app.failed(request, error)

    return answer
