"""The picture of photographs that anybody may show."""

from pathlib import Path

import numpy as np
from PIL import Image

from demo.photographs import GAP, NAMES, SIDE, write_picture


def test_every_photograph_has_a_row_with_all_stages(tmp_path: Path) -> None:
    seen = write_picture(tmp_path / "photographs.png", "squeezenet1_1", "random")
    picture = np.asarray(Image.open(tmp_path / "photographs.png"))
    assert picture.shape == (len(NAMES) * (SIDE + GAP), 5 * (SIDE + GAP), 3)
    assert len(seen) == len(NAMES)
    cells = picture.reshape(len(NAMES), SIDE + GAP, 5, SIDE + GAP, 3)
    assert all(np.ptp(cells[row, SIDE // 2, cell]) > 0 for row in range(len(NAMES)) for cell in range(5))
