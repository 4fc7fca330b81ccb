"""`Texts`, and tables of many rows: the same as lists of strings, in a part of their memory."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_files import refused
from traced_memory import traced

from dbpt.data import load_dataset
from dbpt.data import text_array as texts
from dbpt.data.tables import READERS
from dbpt.data.text_array import BLOCK_ROWS, TextBuilder, TextIndex, Texts
from dbpt.data.writing import write_table

N = 3 * BLOCK_ROWS
CELLS = st.lists(st.text(alphabet="ab\u00e9\U0001f600\n\udc80", max_size=3), max_size=40)


@pytest.fixture(params=[2, texts.MOST_CODED], ids=["stored", "coded"])
def most_coded(monkeypatch, request):
    monkeypatch.setattr(texts, "MOST_CODED", request.param)
    monkeypatch.setattr(texts, "BLOCK_ROWS", 5)


@pytest.mark.usefixtures("most_coded")
class TestAsAList:
    @given(CELLS, st.randoms(use_true_random=False))
    def test_rows_and_distinct_texts(self, cells, random):
        held = Texts.of(cells)
        assert held == cells and cells == held and held != [*cells, "a"] and len(held) == len(cells)
        rows = [random.randrange(len(cells)) for _ in range(30 if cells else 0)]
        some = held.take(np.array(rows, np.int64))
        assert list(some) == [some[i] for i in range(len(some))] == [cells[row] for row in rows]
        assert held[1:4] == cells[1:4] and list(held.map(len)) == list(map(len, cells))
        for part, expected in ((held, cells), (some, list(some)), (some[:2], list(some)[:2])):
            values, codes = part.distinct()
            assert [values[code] for code in codes] == expected and set(values) == set(expected)
        holes = [row if random.random() < 0.5 else -1 for row in rows]
        assert held.filled(np.array(holes, np.int64)) == ["" if row < 0 else cells[row] for row in holes]

    @given(CELLS, CELLS)
    def test_rows_are_found_by_text_also_where_hashes_are_equal(self, cells, sought):
        expected = [cells.index(text) if text in cells else -1 for text in sought]
        repeated = [(row, cells.index(text)) for row, text in enumerate(cells) if cells.index(text) != row]
        with pytest.MonkeyPatch.context() as patch:
            for hash_of in (Texts.hashes, lambda held: np.array([len(text) % 2 for text in held], np.int64)):
                patch.setattr(Texts, "hashes", hash_of)
                assert TextIndex(cells).find(sought).tolist() == expected
                assert list(Texts.of(cells).repeated()) == repeated

    @given(CELLS, CELLS)
    def test_rows_are_added_by_text_and_by_codes(self, first, second):
        builder = TextBuilder()
        builder.extend(first)
        builder.add(second, np.arange(len(second))[::-1])
        builder.fill(len(first) + len(second) + 2)
        assert builder.texts() == [*first, *second[::-1], "", ""]


def paths():
    return [f"images/\u00e9{row}.jpg" if row % 7 == 0 else f"images/{row}.jpg" for row in range(N)]


@pytest.fixture
def written(tmp_path):
    """Write a table with one cell changed, as CSV, JSON lines or Parquet."""

    def write(suffix, changes, name="rows"):
        columns = {"path": paths(), "label": ["dog", "cat"] * (N // 2), "split": ["train"] * N}
        for column, row, value in changes:
            columns[column][row] = value
        file = tmp_path / f"{name}{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.table(columns), file, row_group_size=N // 5)
        elif suffix == ".jsonl":
            rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
            file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        else:
            rows = (",".join(row) for row in zip(*columns.values(), strict=True))
            file.write_text("\n".join(["path,label,split", *rows]), "utf-8")
        return file

    return write


@pytest.mark.parametrize(
    ("suffix", "unit", "first"), [(".csv", "line", 2), (".jsonl", "line", 1), (".parquet", "row", 1)]
)
def test_rows_of_late_blocks(written, suffix, unit, first, monkeypatch):
    monkeypatch.setattr("dbpt.data.tables.BATCH_ROWS", 1000)
    data = load_dataset(written(suffix, []), images=False)
    assert data.paths == paths() and data.lines.tolist() == list(range(first, N + first))
    assert data.labels.tolist() == [1, 0] * (N // 2)
    last = N - 5
    message = refused(written(suffix, [("split", last, "tests")]), images=False)
    assert f"{unit} {last + first}: split is 'tests'" in message
    message = refused(written(suffix, [("path", last, "images/1.jpg")]), images=False)
    assert f"{unit} {last + first}: 'images/1.jpg' is already at rows{suffix} {unit} {1 + first}" in message


def test_cells_with_line_breaks_across_the_edge_of_a_block(written):
    edge = BLOCK_ROWS - 1
    data = load_dataset(
        written(".csv", [("path", row, f'"a\n{row}\r\n"",b"') for row in (edge, edge + 1)]), images=False
    )
    assert data.paths[edge : edge + 3] == [f'a\n{edge}\r\n",b', f'a\n{edge + 1}\r\n",b', paths()[edge + 2]]
    assert data.lines[edge - 1 : edge + 3].tolist() == [edge + 1, edge + 2, edge + 5, edge + 8]
    message = refused(written(".csv", [("path", edge, '"a\nb"'), ("path", N - 9, "a,b")]), images=False)
    assert f"line {N - 6}: has 4 fields" in message


@pytest.mark.parametrize("content", [b"\xff", b"\0", '"é'.encode()[:-1]])
def test_bytes_that_are_no_text_in_a_late_block(written, content):
    file = written(".csv", [])
    raw = file.read_bytes()
    at = raw.index(b"\n", 3 * len(raw) // 4)
    file.write_bytes(raw[:at] + content + raw[at:])
    assert f"line {raw[:at].count(10) + 1}: byte" in (message := refused(file, images=False)) or "UTF-16" in message


def test_a_table_takes_a_part_of_the_memory_of_lists(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(
        "path,label\n" + "".join(f"images/{row:09}.jpg,{'cat' if row % 3 else 'dog'}\n" for row in range(20_000))
    )
    load_dataset(file, images=False)
    _, *of_lists = traced(lambda: [line.split(",") for line in file.read_text().split("\n")])
    _, *of_texts = traced(lambda: load_dataset(file, images=False))
    assert (np.array(of_texts) < np.array(of_lists) / 2).all()


def test_long_tables_of_images_are_parquet_and_read_back(tmp_path, monkeypatch):
    columns = {"path": Texts.of(["=a.jpg", "b.jpg", "c.jpg"]), "label": Texts.coded(["x"], np.array([0, -1, 0]))}
    columns |= {"p_x": np.array([0.25, 0.5, 1]), "group": np.array([0, -1, 0])}
    monkeypatch.setattr("dbpt.data.writing.BATCH_ROWS", 2)
    for most, suffix in ((3, ".csv"), (2, ".parquet")):
        monkeypatch.setattr("dbpt.data.writing.MOST_ROWS_OF_CSV", most)
        write_table(tmp_path, "images", columns)
        table = READERS[suffix](tmp_path / f"images{suffix}", (*columns,))
        assert table.values["path"] == ["'=a.jpg" if suffix == ".csv" else "=a.jpg", "b.jpg", "c.jpg"]
        assert table.values["label"] == ["x", "", "x"]
        assert [float(cell) for cell in table.values["p_x"]] == [0.25, 0.5, 1]
        assert table.values["group"] == ["0", "-1", "0"]


def test_a_long_table_is_written_in_parts_and_a_column_may_begin_with_none(tmp_path, monkeypatch):
    columns = {"path": Texts.of("abc"), "score": [None, 0.5, 1], "note": np.array([None, None, "x"])}
    parts = []
    monkeypatch.setattr("dbpt.data.writing.MOST_ROWS_OF_CSV", 2)
    monkeypatch.setattr("dbpt.data.writing.BATCH_ROWS", 1)
    monkeypatch.setattr("dbpt.data.writing.write_atomically", lambda file, content: parts.extend(content))
    write_table(tmp_path, "images", columns)
    assert len(parts) == 4 and all(isinstance(part, bytes) for part in parts)
    rows = pq.read_table(io.BytesIO(b"".join(parts))).to_pydict()
    assert rows == {"path": [*"abc"], "score": [None, 0.5, 1], "note": [None, None, "x"]}


@pytest.mark.parametrize("held", [list, Texts.of])
def test_names_that_are_not_utf_8_are_csv_in_a_long_table_too(tmp_path, monkeypatch, held):
    monkeypatch.setattr("dbpt.data.writing.MOST_ROWS_OF_CSV", 1)
    monkeypatch.setattr("dbpt.data.writing.BATCH_ROWS", 1)
    write_table(tmp_path, "images", {"path": held(["a.jpg", "b\udcff.jpg"])})
    (file,) = tmp_path.iterdir()
    assert (file.name, file.read_bytes()) == ("images.csv", b"path\na.jpg\nb\xff.jpg\n")
