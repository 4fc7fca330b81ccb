"""Draw docs/report.png: what matters most of a run's report.html, as narrow as a phone, so that it is readable on one.

python tools/draw_report.py runs/demo
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, PIXEL_RATIO = 430, 2400, 2
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FEW = """
body { padding-bottom: 0; }
h2 { margin-top: 1.6rem; }
main > *, footer, details.sheet ~ *, .strip li:nth-child(n + 5), #groups ~ :not(.legend, .bars), #answers ~ .scroll {
  display: none;
}
section[aria-labelledby="groups"], section[aria-labelledby="answers"] { display: block; }
"""


def main(run: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    page = (run / "report.html").read_text(encoding="utf-8").replace("</style>", f"{FEW}</style>")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "report.html").write_text(page, encoding="utf-8")
        # A window can't be as narrow as a frame.
        style = f"position: absolute; top: 0; left: 0; border: 0; width: {WIDTH}px; height: {HEIGHT}px"
        frame = f'<!doctype html><iframe src="report.html" style="{style}"></iframe>'
        (Path(folder) / "frame.html").write_text(frame, encoding="utf-8")
        shot = Path(folder) / "shot.png"
        options = f"--window-size=800,{HEIGHT}", f"--force-device-scale-factor={PIXEL_RATIO}", f"--screenshot={shot}"
        command = [browser, "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        subprocess.run([*command, *options, (Path(folder) / "frame.html").as_uri()], check=True, capture_output=True)
        picture = Image.open(shot).convert("RGB").crop((0, 0, WIDTH * PIXEL_RATIO, HEIGHT * PIXEL_RATIO))
    white = Image.new("RGB", picture.size, "white")
    bottom = ImageChops.difference(picture, white).getbbox()[3]
    picture = picture.crop((0, 0, picture.width, bottom + 16 * PIXEL_RATIO))
    picture.quantize(200).save(ROOT / "docs" / "report.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
