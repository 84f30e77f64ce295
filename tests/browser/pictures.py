"""Takes the pictures of the page in docs/pictures anew, from the project's own sample: `make pictures`.

It needs a Chromium and an Elasticsearch: `ES_XMODAL_URL`, the local node that runs, or one for as long as it
takes. Its index has a name of its own, and is deleted at the end.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from PIL import Image
from playwright.sync_api import Browser, Page, Route, sync_playwright

from es_xmodal.cli.common import settings_for
from es_xmodal.cli.ingest import ingest
from es_xmodal.cli.main import run
from es_xmodal.local import LocalNode, running_url
from es_xmodal.server.factory import create_app
from es_xmodal.server.options import ServerOptions
from es_xmodal.shop import Shop
from tests.browser.conftest import FLAGS, running, settle
from tests.support.cli import REPOSITORY, SAMPLE
from tests.support.nodes import delete_everything_named

PICTURES = REPOSITORY / "docs" / "pictures"
MOST_BYTES = 120 * 1024
MOST_BYTES_MOVING = 400 * 1024
CHAIR = SAMPLE / "photos" / "yellow-chair.jpg"
DESKTOP = {"viewport": {"width": 1200, "height": 780}}
PHONE = {
    "viewport": {"width": 390, "height": 780},
    "is_mobile": True,
    "has_touch": True,
    "color_scheme": "dark",
}
# A font that looks like those that people have, and no time: that is of the machine that takes the pictures.
STYLE = ':root { --sans: "Noto Sans CJK SC", sans-serif; } #count span { display: none; }'


@dataclass(frozen=True)
class Camera:
    """Opens the page and takes pictures of it.

    Attributes:
        browser: a Chromium.
        url: of the service.
    """

    browser: Browser
    url: str

    @contextmanager
    def page(self, path: str = "/", **options: Any) -> Iterator[Page]:
        """The page at an address, with a title that says what is shown."""
        context = self.browser.new_context(**{"locale": "en-US", "bypass_csp": True, **options})
        page = context.new_page()
        page.route("**/page/config.json", named)
        page.goto(self.url + path)
        page.add_style_tag(content=STYLE)
        settle(page)
        loaded(page)
        yield page
        context.close()


def named(route: Route) -> None:
    """The name of the index is one for this run; the pictures have the one that a person gets."""
    told = route.fetch()
    route.fulfill(response=told, json={**told.json(), "index": "products"})


def loaded(page: Page) -> None:
    """Wait until everything in sight is drawn."""
    page.evaluate(
        """Promise.all([...document.images].filter((one) => one.getBoundingClientRect().top < innerHeight)
            .map((one) => { one.loading = "eager"; return one.decode().catch(() => {}); }))"""
    )
    page.wait_for_timeout(350)


def give(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    page.wait_for_selector("#given li")
    page.wait_for_timeout(200)
    settle(page)
    loaded(page)


def explain(page: Page) -> None:
    card = page.locator(".card").first
    card.hover()
    card.get_by_role("button", name=re.compile("^Why")).click()
    shown = page.locator("dialog pre")
    shown.wait_for()
    shown.evaluate(
        "(pre) => { pre.textContent = pre.textContent.replace(/t[0-9a-f]{10}-sample/g, 'products'); }"
    )
    loaded(page)


# --- the pictures -----------------------------------------------------------------------------------------


def words_and_photo(camera: Camera) -> bytes:
    with camera.page("/?q=in+grey-green+instead", **DESKTOP) as page:
        give(page, CHAIR)
        page.mouse.move(5, 400)
        return page.screenshot()


def why(camera: Camera) -> bytes:
    with camera.page("/?q=couch+in+leather", **DESKTOP) as page:
        explain(page)
        return page.screenshot()


def phone(camera: Camera) -> bytes:
    with camera.page("/?q=plant&attributes.colour=green", **PHONE) as page:
        return page.screenshot()


def chinese(camera: Camera) -> bytes:
    with camera.page("/?q=红色网线&fits=1", locale="zh-CN", **DESKTOP) as page:
        return page.screenshot()


STILLS: dict[str, Callable[[Camera], bytes]] = {
    "words-and-photo": words_and_photo,
    "why": why,
    "phone": phone,
    "chinese": chinese,
}


def session(camera: Camera) -> list[tuple[bytes, int]]:
    """Frames of a search and how many milliseconds each is shown: drop, results, slider, why."""
    frames: list[tuple[bytes, int]] = []
    with camera.page("/", viewport={"width": 1040, "height": 660}) as page:

        def frame(ms: int) -> None:
            frames.append((page.screenshot(), ms))

        frame(1200)
        dragged(page, "dragenter")
        frame(900)
        dragged(page, "drop")
        give(page, CHAIR)
        frame(1800)
        for end in (6, 12, 22):
            page.locator("#words").fill("in grey-green instead"[:end])
            frame(260)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("q="))
        settle(page)
        loaded(page)
        frame(1800)
        for place in (65, 80, 100, 60, 20, 50):
            page.locator("#balance").fill(str(place))
            page.wait_for_timeout(300)
            settle(page)
            loaded(page)
            frame(900 if place in (100, 20, 50) else 350)
        page.locator(".card").first.hover()
        page.wait_for_timeout(400)
        frame(700)
        explain(page)
        frame(2600)
    return frames


def dragged(page: Page, event: str) -> None:
    """A file that is dragged in from outside; the drop itself carries none."""
    page.evaluate(
        """(name) => {
            const data = new DataTransfer();
            data.items.add(new File(["x"], "chair.jpg", {type: "image/jpeg"}));
            const given = name === "drop" ? new DataTransfer() : data;
            const options = {dataTransfer: given, bubbles: true, cancelable: true};
            document.body.dispatchEvent(new DragEvent(name, options));
        }""",
        event,
    )
    page.wait_for_timeout(150)


# --- writing them -----------------------------------------------------------------------------------------


def still(data: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """A screenshot as WebP, in the best quality that fits."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    for quality in range(90, 20, -5):
        made = io.BytesIO()
        image.save(made, "WEBP", quality=quality, method=6)
        if made.tell() <= most_bytes:
            return made.getvalue()
    raise ValueError(f"{image.size} pixels do not fit into {most_bytes} bytes")


def moving(frames: list[tuple[bytes, int]], most_bytes: int = MOST_BYTES_MOVING) -> bytes:
    """Frames as one animated WebP, without an end."""
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data, _ in frames]
    for quality in range(80, 10, -10):
        made = io.BytesIO()
        images[0].save(
            made,
            "WEBP",
            save_all=True,
            append_images=images[1:],
            duration=[ms for _, ms in frames],
            loop=0,
            quality=quality,
            method=6,
            minimize_size=True,
        )
        if made.tell() <= most_bytes:
            return made.getvalue()
    raise ValueError(f"{len(images)} frames do not fit into {most_bytes} bytes")


@contextmanager
def served() -> Iterator[str]:
    """The service on the sample, in an index of its own."""
    with ExitStack() as stack:
        url = os.environ.get("ES_XMODAL_URL") or running_url()
        if not url:
            url = stack.enter_context(LocalNode()).url
        prefix = f"t{secrets.token_hex(5)}-"
        stack.callback(delete_everything_named, url, prefix)
        if run(ingest, [str(SAMPLE / "catalog.jsonl"), "--index", f"{prefix}sample", "--url", url]):
            raise SystemExit("the sample could not be ingested")
        shop = Shop(settings=settings_for(url), index=f"{prefix}sample")
        yield stack.enter_context(running(create_app(shop, ServerOptions(images_root=str(SAMPLE)))))


def main() -> None:
    """Take all pictures, or those that are named."""
    wanted = sys.argv[1:] or [*STILLS, "session"]
    found = os.environ.get("ES_XMODAL_TEST_BROWSER") or shutil.which("chromium")
    if found is None:
        raise SystemExit("there is no Chromium (make browser)")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        camera = Camera(browser, url)
        for name in wanted:
            made = moving(session(camera)) if name == "session" else still(STILLS[name](camera))
            (PICTURES / f"{name}.webp").write_bytes(made)
            click.echo(f"docs/pictures/{name}.webp: {len(made) // 1024} kB")
        browser.close()


if __name__ == "__main__":
    main()
