"""The page to draw on, as somebody uses it in a browser.

``pytest -m browser --basetemp=FOLDER`` leaves the photographs below FOLDER.
"""

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic_pictures import KINDS
from torch import Tensor

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.export.html import to_html
from mnist_lightning.pictures.normalize import UnreadablePictureError, to_digit

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

# How people write, in percent of the sheet: strokes, each a line through points.
HANDS = {
    0: [[(55, 15), (35, 25), (25, 50), (35, 78), (55, 85), (72, 70), (75, 45), (68, 22), (52, 15)]],
    1: [[(58, 12), (52, 50), (46, 88)]],
    2: [[(28, 30), (40, 15), (62, 18), (68, 35), (50, 60), (25, 84), (50, 82), (78, 84)]],
    3: [
        [
            (32, 20),
            (45, 13),
            (60, 16),
            (66, 28),
            (58, 40),
            (46, 46),
            (64, 53),
            (70, 66),
            (62, 81),
            (46, 87),
            (30, 80),
        ]
    ],
    4: [[(35, 12), (28, 35), (25, 52), (72, 50)], [(65, 20), (62, 55), (58, 90)]],
    5: [[(72, 14), (38, 15), (33, 44), (55, 42), (70, 58), (64, 80), (45, 87), (27, 80)]],
    6: [[(64, 12), (42, 35), (30, 62), (38, 84), (60, 86), (70, 70), (58, 56), (36, 64)]],
    7: [[(25, 18), (50, 17), (75, 17), (60, 45), (45, 88)]],
    8: [[(66, 24), (48, 13), (34, 26), (50, 46), (68, 68), (52, 88), (34, 72), (50, 46), (66, 24)]],
    9: [[(66, 28), (50, 16), (34, 30), (42, 46), (60, 42), (66, 28), (62, 58), (54, 90)]],
}
FIND = """
    const [row, ...others] = document.querySelectorAll("tr.best");
    return {
        digit: document.getElementById("digit").textContent,
        best: row && !others.length ? row.cells[0].textContent : null,
        said: document.getElementById("said").textContent,
        shown: [...document.querySelectorAll("tr")].map(one => one.cells[2].textContent),
        bars: [...document.querySelectorAll(".bar")].map(one => one.style.width),
    };
"""
# What the network sees; what it is made from, as a picture.
READ = """
    return [document.getElementById("seen"), reader.canvas].map(one => one.toDataURL("image/png"));
"""
PASTE = """
    const content = Uint8Array.from(atob(arguments[0]), sign => sign.charCodeAt(0));
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([content], arguments[1], {type: "image/png"}));
    document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
"""
PREPARE = """
    const [content, width, height] = arguments;
    const grid = gridOf(width, height, 3);
    grid.data.set(Float32Array.from(atob(content), sign => sign.charCodeAt(0) / 255));
    const digit = toDigit(grid);
    return digit && [...digit];
"""
# Other fingers touch the sheet, move and leave it.
OTHERS = """
    sheet.addEventListener("pointermove", event => {
        if (!event.isTrusted || !event.buttons) return;
        for (const type of ["pointerdown", "pointermove", "pointerup"]) {
            const other = {pointerId: 99, clientX: 5, clientY: 5, buttons: 1};
            sheet.dispatchEvent(new PointerEvent(type, other));
        }
    });
"""
COLOURS = """
    const [faint, best, said, body, paper, bar] =
        [".faint", ".best", "#said", "body", "#sheet", ".bar"].map(
            name => getComputedStyle(document.querySelector(name)));
    const {width, height} = sheet;
    const copy = contextOf(Object.assign(document.createElement("canvas"), {width, height}));
    copy.drawImage(sheet, 0, 0);
    const image = copy.getImageData(0, 0, width, height).data;
    let ink = 0; // where the stroke is opaque
    while (image[ink + 3] < 255) ink += 4;
    return [faint.color, best.color, said.color, body.backgroundColor, paper.backgroundColor,
            bar.backgroundColor, `rgb(${image.slice(ink, ink + 3)})`];
"""
PREDICT = """
    const values = Float32Array.from(atob(arguments[0]), sign => sign.charCodeAt(0) / 255);
    const answers = [], times = [];
    for (let i = 0; i < values.length; i += 784) {
        const start = performance.now();
        answers.push(predict(values.subarray(i, i + 784)));
        times.push(performance.now() - start);
    }
    return [answers, times];
"""


@pytest.fixture(scope="module")
def model() -> MNISTClassifier:
    return MNISTClassifier.from_pretrained().eval()


@pytest.fixture
def page(
    browser: "Chrome", model: MNISTClassifier, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator["Page"]:
    """The page, newly opened, and photographed in the end."""
    path = tmp_path / "digit.html"
    path.write_bytes(to_html(model))
    page = Page(browser)
    page.resize(840, 640)
    page.show_theme("light")
    log: Any = browser.get_log  # selenium leaves it without types
    log("browser")
    browser.get(path.as_uri())
    yield page
    browser.save_screenshot(str(tmp_path / f"{request.node.name}.png"))
    assert log("browser") == []
    # Nothing was fetched, not even from this machine.
    assert page.run("return performance.getEntriesByType('resource').map(one => one.name)") == []


class Page:
    """What a person does with the page."""

    def __init__(self, browser: "Chrome") -> None:
        self.browser = browser
        self.run = browser.execute_script

    def find(self, name: str) -> Any:
        """Returns the element of that id."""
        return self.browser.find_element("id", name)

    def draw(self, strokes: int | list[list[tuple[int, int]]], kind: str = "mouse") -> None:
        """Draws strokes, or those of a digit; the pointer then moves to the centre."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        box = self.run("return sheet.getBoundingClientRect()")
        kind_of_pointer: Any = PointerInput
        actions = ActionBuilder(self.browser, mouse=kind_of_pointer(kind, kind), duration=10)
        pointer: Any = actions.pointer_action

        def move(x: int, y: int) -> None:
            left, top = (box[side] + at * box["width"] / 100 for side, at in (("x", x), ("y", y)))
            pointer.move_to_location(round(left), round(top))

        for stroke in HANDS[strokes] if isinstance(strokes, int) else strokes:
            move(*stroke[0])
            pointer.pointer_down()
            for point in stroke[1:]:
                move(*point)
            pointer.pointer_up()
        move(50, 50)
        actions.perform()

    def resize(self, width: int, height: int) -> None:
        """Looks at the page on another screen."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def show_theme(self, theme: str) -> None:
        """Prefers light or dark."""
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def press(self, *keys: str, held: str = "") -> None:
        """Presses keys one after another, while one is held."""
        from selenium.webdriver import ActionChains

        actions = ActionChains(self.browser)
        if held:
            actions.key_down(held)
        actions.send_keys(*keys)
        if held:
            actions.key_up(held)
        actions.perform()

    @property
    def answer(self) -> dict[str, Any]:
        """What the page shows, once it has drawn a frame."""
        self.browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0]))")
        found: dict[str, Any] = self.run(FIND)
        return found

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Waits for what takes a moment."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 20, 0.05).until(lambda _: holds())

    def wait_until_said(self, text: str) -> None:
        """Waits for a sentence."""
        self.wait_until(lambda: text in str(self.run(FIND)["said"]))

    def seen(self) -> tuple[Tensor, Image.Image]:
        """Returns what the network sees, and the picture from which that was made."""
        contents = (base64.b64decode(url.partition(",")[2]) for url in self.run(READ))
        digit, picture = (Image.open(io.BytesIO(content)) for content in contents)
        return torch.tensor(np.asarray(digit)[None, ..., 0]) / 255, picture


def test_same_digits_and_probabilities(
    page: Page, model: MNISTClassifier, sample: MNISTDataModule
) -> None:
    images = sample.test_set.images
    check_predictions(page, model, images)


def test_same_for_1000_test_digits_of_mnist(
    page: Page, model: MNISTClassifier, tmp_path: Path, mnist_mirror: str
) -> None:
    data = MNISTDataModule(str(tmp_path), source="mnist", mirrors=mnist_mirror)
    data.prepare_data()
    data.setup("test")
    check_predictions(page, model, data.test_set.images[:1000])


def check_predictions(page: Page, model: MNISTClassifier, images: Tensor) -> None:
    answers, times = page.run(PREDICT, base64.b64encode(images.numpy().tobytes()).decode())
    found = torch.tensor(answers)
    with torch.inference_mode():
        expected = model.predict_step(images.float().div(255))
    assert len(found) == 1000
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))
    assert np.median(times) < 10  # milliseconds


@pytest.mark.parametrize("digit", HANDS)
def test_reads_what_is_drawn_as_python_does(page: Page, digit: int) -> None:
    page.draw(digit)
    answer = page.answer
    assert answer["best"] == answer["digit"] == str(digit)
    assert answer["said"].startswith(f"This is {digit} (")
    seen, picture = page.seen()
    torch.testing.assert_close(seen, to_digit(picture), rtol=0, atol=0.51 / 255)


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_answers_while_one_draws(page: Page, kind: str) -> None:
    before = page.answer
    assert before["best"] is None
    page.resize(320, 400)  # where the page scrolls
    page.run(f"addEventListener('pointerup', () => {{ during = (() => {{{FIND}}})() }}, true)")
    page.draw(3, kind)
    while_drawing = page.run("return during")
    assert while_drawing["best"] == while_drawing["digit"] == "3"
    assert float(while_drawing["bars"][3].rstrip("%")) > 90
    assert while_drawing["shown"][3] == "100.0 %"
    assert while_drawing["said"] == "Drawing …"  # a screen reader would never end
    assert page.run("return scrollY") == 0
    assert page.answer["said"].startswith("This is 3 (")


@pytest.mark.parametrize("kind", KINDS)
def test_reads_pictures_as_python_does(
    page: Page, model: MNISTClassifier, kind: str, tmp_path: Path, sample: MNISTDataModule
) -> None:
    image, random = sample.test_set.images[0, 0].numpy() / 255, np.random.default_rng(0)
    picture = KINDS[kind](image, random)
    if picture.mode == "CMYK":
        picture = picture.convert("RGB")  # PNG has no CMYK
    picture.save(tmp_path / "digit.png", exif=picture.getexif())
    page.find("file").send_keys(str(tmp_path / "digit.png"))
    page.wait_until_said("is 7")
    expected = to_digit(Image.open(tmp_path / "digit.png"))
    torch.testing.assert_close(page.seen()[0], expected, rtol=0, atol=0.03)


def test_prepares_any_picture_as_python_does(page: Page) -> None:
    random = np.random.default_rng(0)
    digits = 0
    for height, width in [(1, 60), (60, 1), *np.exp(random.uniform(3, 6, (60, 2))).astype(int)]:
        paper, ink = random.integers(0, 256, (2, 3))
        pixels = np.full((height, width, 3), paper)
        for _ in range(3):
            top, left = random.integers(0, height), random.integers(0, width)
            pixels[top : top + height // 4 + 1, left : left + width // 4 + 1] = ink
        pixels = pixels + random.normal(0, random.choice([0, 3, 80]), pixels.shape)
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        content = base64.b64encode(picture.tobytes()).decode()
        found = page.run(PREPARE, content, *picture.size)
        try:
            expected = to_digit(picture)
        except UnreadablePictureError:
            assert found is None
        else:
            digits += 1
            seen = torch.tensor(found).reshape(1, 28, 28)
            torch.testing.assert_close(seen, expected, rtol=0, atol=0.03)
    assert 20 < digits < 55


def test_rounds_as_python_does(page: Page) -> None:
    values = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.4, 2.6, -3.2]
    assert page.run("return arguments[0].map(round)", values) == [round(value) for value in values]


def test_one_pointer_draws_at_a_time(page: Page) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(page.browser).context_click(page.find("sheet")).perform()
    assert page.run("return states.length") == 1
    page.run(OTHERS)
    page.draw(3)
    answer = page.answer
    assert answer["best"] == "3"
    assert page.run("return states.length") == 2  # the empty sheet, and the stroke


def test_a_stroke_may_leave_the_sheet(page: Page) -> None:
    page.draw([[(50, 20), (50, 90), (50, 130)]])
    assert page.answer["said"].startswith("This is 1 (")
    drawn = page.run("return states.at(-1).strokes[0].length")
    page.draw([])  # the mouse moves over the sheet, with no button down
    assert page.run("return states.at(-1).strokes[0].length") == drawn


def test_pictures_are_dropped_and_pasted(page: Page, tmp_path: Path) -> None:
    for name, light in (("light", 255), ("dark", 0)):
        picture = Image.new("L", (100, 80), 255 - light)
        picture.paste(light, (45, 10, 55, 70))
        picture.save(tmp_path / f"{name}.png")
    box = page.run("return sheet.getBoundingClientRect()")
    data = {"items": [], "files": [str(tmp_path / "dark.png")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": box["x"] + 9, "y": box["y"] + 9, "data": data}
        page.browser.execute_cdp_cmd("Input.dispatchDragEvent", event)
        over = page.run("return document.body.classList.contains('over')")
        assert over == (kind == "dragOver")
    page.wait_until_said("This is 1")
    page.find("clear").click()
    content = base64.b64encode((tmp_path / "light.png").read_bytes()).decode()
    page.run(PASTE, content, "light.png")
    page.wait_until_said("This is 1")
    page.find("undo").click()
    page.find("undo").click()
    assert page.answer["best"] == "1"  # the picture that was dropped
    page.draw(3)  # on a new sheet
    assert page.answer["best"] == "3"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "<b>odd</b>.png is no picture that this browser can read."),
        (b"hello", "<b>odd</b>.png is no picture that this browser can read."),
        ("white", "No ink stands out from the paper."),
        ("dot", "No ink stands out from the paper."),
    ],
)
def test_says_what_shows_no_digit(page: Page, content: bytes | str, said: str) -> None:
    page.draw(3)
    if isinstance(content, str):
        picture = Image.new("L", (64, 64) if content == "white" else (1, 1), 255)
        file = io.BytesIO()
        picture.save(file, "PNG")
        content = file.getvalue()
        best = None
    else:
        best = "3"  # what was there stays
    page.run(PASTE, base64.b64encode(content).decode(), "<b>odd</b>.png")
    page.wait_until_said(said)
    assert page.answer["best"] == best


def test_the_same_picture_may_come_again(page: Page, tmp_path: Path) -> None:
    Image.new("L", (9, 9), 255).save(tmp_path / "blank.png")
    for _ in range(2):
        page.draw(3)
        page.find("file").send_keys(str(tmp_path / "blank.png"))
        page.wait_until_said("No ink")


def test_of_two_pictures_the_later_one_is_shown(page: Page) -> None:
    for side in (3000, 100):  # the first one takes longer
        picture = Image.new("L", (side, side), 255)
        if side == 100:
            picture.paste(0, (45, 10, 55, 90))
        file = io.BytesIO()
        picture.save(file, "PNG")
        page.run(PASTE, base64.b64encode(file.getvalue()).decode(), f"{side}.png")
    page.wait_until_said("This is 1")
    page.browser.execute_async_script("setTimeout(arguments[0], 500)")
    assert page.answer["said"].startswith("This is 1")


def test_says_what_cannot_be_used(page: Page) -> None:
    page.run(
        "const clipboardData = new DataTransfer(); clipboardData.setData('text/plain', '7');"
        "document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true}))"
    )
    assert page.answer["said"] == "That holds no picture."
    file = io.BytesIO()
    Image.new("1", (10_001, 10_000)).save(file, "PNG")
    page.run(PASTE, base64.b64encode(file.getvalue()).decode(), "huge.png")
    page.wait_until_said("huge.png has more than 100 million pixels.")


def test_a_touch_may_be_interrupted(page: Page) -> None:
    box = page.run("return sheet.getBoundingClientRect()")
    for kind, points in (
        ("touchStart", [{"x": box["x"] + 100, "y": box["y"] + 50}]),
        ("touchMove", [{"x": box["x"] + 100, "y": box["y"] + 250}]),
        ("touchCancel", []),
    ):
        event = {"type": kind, "touchPoints": points}
        page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)
    assert page.answer["said"].startswith("This is 1 (")
    page.draw(3, "touch")  # another one is taken
    assert page.run("return states.at(-1).strokes.length") == 2


def test_unsure_answers_are_marked(page: Page) -> None:
    page.run("predict = () => [0.03, 0.86, 0, 0, 0, 0, 0, 0.11, 0, 0]; begin(9, 9); tell()")
    answer = page.answer
    assert answer["digit"] == "1?"
    assert answer["said"] == "Unsure: perhaps 1 (86.0 %), or 7 (11.0 %)."
    page.run("predict = () => [0.03, 0.91, 0, 0, 0, 0, 0, 0.06, 0, 0]; tell()")
    assert page.answer["said"] == "This is 1 (91.0 %)."


def test_undo_and_clear(page: Page) -> None:
    page.draw(4)
    assert page.answer["best"] == "4"
    page.find("clear").click()
    cleared = page.answer
    assert cleared["best"] is None
    assert cleared["digit"] == ""
    assert cleared["said"] == "Empty."
    assert cleared["shown"] == [""] * 10
    assert page.seen()[0].max() == 0
    page.find("clear").click()  # nothing more to take back
    page.find("undo").click()
    assert page.answer["best"] == "4"
    page.find("undo").click()  # one stroke
    assert page.run("return states.at(-1).strokes.length") == 1
    assert page.answer["best"] != "4"
    for _ in range(3):
        page.find("undo").click()
    assert page.answer["said"] == "Empty."
    page.run(  # within a stroke
        "sheet.addEventListener('pointermove', event => event.buttons && states[1] && undo())"
    )
    page.draw(3)
    assert page.answer["said"] == "Empty."


def test_works_with_the_keyboard(page: Page) -> None:
    from selenium.webdriver import Keys

    blank = page.run("return sheet.toDataURL()")
    page.press(Keys.TAB)
    assert page.run("return document.activeElement.id") == "sheet"
    page.press(*[Keys.ARROW_UP] * 4, *[Keys.ARROW_LEFT] * 2)
    assert page.answer["best"] is None  # the pen is up
    pen_up = page.run("return sheet.toDataURL()")
    assert pen_up != blank  # and seen
    assert page.answer["said"] == "Pen up, 34 % across, 18 % down."
    assert page.run("return getComputedStyle(sheet).outlineStyle") == "solid"
    page.press(Keys.SPACE)
    assert page.answer["said"].startswith("Pen down. ")
    assert page.run("return sheet.toDataURL()") != pen_up
    page.press(*[Keys.ARROW_RIGHT] * 5)
    assert page.answer["said"] == "Pen down, 74 % across, 18 % down."
    page.run(
        "sheet.dispatchEvent(new KeyboardEvent('keydown', {key: ' ', repeat: true}))"
    )  # held too long
    page.press(*[Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_DOWN] * 4, Keys.SPACE)
    assert page.answer["said"].startswith("Pen up. This is 7 (")
    page.press(Keys.ARROW_UP, Keys.ARROW_UP)  # draws no more
    seen = page.seen()[0]
    page.press(Keys.SPACE)
    page.press(*[Keys.ARROW_LEFT] * 3, held=Keys.SHIFT)
    (start, height), *others = page.run("return states.at(-1).strokes.at(-1)")
    assert others == [[start - 4, height], [start - 8, height], [start - 12, height]]
    page.press(Keys.SPACE)
    assert not torch.equal(page.seen()[0], seen)
    page.press("z", held=Keys.CONTROL)
    assert torch.equal(page.seen()[0], seen)
    page.press(Keys.DELETE)
    assert page.answer["said"] == "Empty."
    page.press(*[Keys.ARROW_LEFT] * 20)
    assert page.answer["said"].startswith("Pen up, 4 % across")  # not beyond the edge
    page.resize(320, 400)
    page.press(Keys.ARROW_DOWN)
    assert page.run("return scrollY") == 0
    page.press(Keys.TAB, Keys.ENTER)  # the button
    assert page.answer["best"] == "7"
    page.press(Keys.TAB, Keys.SPACE)
    assert page.answer["said"] == "Empty."
    page.resize(840, 640)
    page.wait_until(lambda: page.run("return sheet.toDataURL()") == blank)  # without the pen


def test_a_screen_reader_finds_everything(page: Page) -> None:
    page.draw(3)
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"]
    ]
    assert ("application", "Sheet to draw on") in found
    assert [name for role, name in found if role == "button"] == ["Undo", "Clear", "Picture…"]
    assert ("image", "What the network sees") in found
    assert ("table", "Probability of each digit") in found
    rows = [name for role, name in found if role == "rowheader"]
    assert rows == [str(digit) for digit in range(10)]
    assert ("heading", "Draw a digit") in found
    status = next(node for node in tree if node.get("role", {}).get("value") == "status")
    assert {"name": "live", "value": {"type": "token", "value": "polite"}} in status["properties"]
    sheet = next(node for node in tree if node.get("role", {}).get("value") == "application")
    assert sheet["description"]["value"].startswith("With the keyboard: arrow keys move the pen")


# Phones, also old and turned, a laptop, and one at 200 %.
SCREENS = [(320, 568), (375, 667), (390, 700), (568, 320), (844, 390), (1280, 720), (640, 360)]


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_fits_the_screen(page: Page, width: int, height: int) -> None:
    page.resize(width, height)
    page.draw(9)
    assert page.answer["best"] == "9"
    assert page.run("return document.documentElement.scrollWidth") <= width
    heights = page.run("return [...document.querySelectorAll('button')].map(b => b.offsetHeight)")
    assert min(heights) >= 44  # for fingers
    # Nobody can scroll while drawing.
    bottoms = page.run(
        "return ['#sheet', 'table'].map("
        "  name => document.querySelector(name).getBoundingClientRect().bottom)"
    )
    assert max(bottoms) <= height


@pytest.mark.parametrize("width", [320, 840])
def test_text_may_be_twice_as_large(page: Page, width: int) -> None:
    page.resize(width, 640)
    page.run("document.documentElement.style.fontSize = '32px'")
    page.draw(9)
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.run("return document.querySelector('.best .bar').offsetWidth") > 30


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_is_legible_in_light_and_dark(page: Page, theme: str) -> None:
    page.draw(7)
    page.show_theme(theme)
    *texts, page_colour, sheet_colour, bar, _ = page.run(COLOURS)
    page.wait_until(lambda: contrast(page.run(COLOURS)[-1], sheet_colour) > 10)  # drawn anew
    assert contrast(bar, page_colour) > 3  # WCAG 2.2, 1.4.11
    for colour in texts:
        assert contrast(colour, page_colour) > 4.5  # 1.4.3


def contrast(*colours: str) -> float:
    """Returns the ratio of two colours' luminance as WCAG defines it."""
    luminances = []
    for colour in colours:
        values = np.array([int(value) for value in re.findall(r"\d+", colour)]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        luminances.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(luminances) / min(luminances)
