"""Tables: what is read, and one clear line for everything that can't be."""

import os
import sys

import numpy as np
import pytest
from layouts import touch
from table_files import refused, rows, vocabulary

from dbpt.commands.embed import check_data
from dbpt.data import load_dataset

ROWS = "path,label,split,attribute\na.jpg,dog,train,in\nb.jpg,cat,train,out\nc.jpg,cat,val,\nd.jpg,dog,test,in\n"


# --- what is read


def test_names_are_sorted_and_an_empty_attribute_is_unknown(table, tmp_path):
    data = load_dataset(table(ROWS))
    assert (data.name, data.root, data.source) == ("pets", tmp_path, tmp_path / "pets.csv")
    assert data.paths == ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert data.class_names == ("cat", "dog")
    assert data.attribute_names == ("in", "out")
    assert data.labels.tolist() == [1, 0, 0, 1]
    assert data.attributes.tolist() == [0, 1, -1, 0]
    assert data.splits.tolist() == [0, 0, 1, 2]
    assert data.lines.tolist() == [2, 3, 4, 5]
    assert {column.dtype for column in (data.labels, data.attributes, data.splits, data.lines)} == {np.dtype("int64")}
    assert data.words.templates == ("a photo of a {}.",)
    assert data.words.attribute_templates == ("{}",)
    assert data.notes == ()


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_may_have_semicolons_or_tabs_and_commas_in_its_cells(table, separator):
    data = load_dataset(table("\r\n" + ROWS.replace(",", separator).replace("dog", "dog, wet").replace("\n", "\r\n")))
    assert data.class_names == ("cat", "dog, wet")
    assert data.attributes.tolist() == [0, 1, -1, 0]


@pytest.mark.parametrize("first", ["sep=;\r\n", '"SEP=;"\n'])
def test_excels_first_line_names_the_separator_and_is_no_row(table, first):
    """Even where the header has another separator, as a comma in a name."""
    content = ROWS.replace(",", ";").replace("attribute\n", "attribute;a, b\n", 1)
    head, *others = content.splitlines()
    data = load_dataset(table("\n".join([first + head, *(f"{line};0" for line in others), ""])))
    assert data.class_names == ("cat", "dog") and data.lines.tolist() == [3, 4, 5, 6]
    assert "has no header" in refused(table(first))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and links of POSIX")
def test_what_exists_but_is_no_file_is_not_called_missing(table, tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "dangling.jpg").symlink_to("gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    kinds = {
        "loop.jpg": "is a link to loop.jpg, which is not a file",
        "dangling.jpg": "is a link to gone.jpg, which is not a file",
        "pipe.jpg": "is not a regular file",
        "no.jpg": f"is not in {tmp_path}",
        "s\\b.jpg": f"is not in {tmp_path}",
    }
    path = table(rows("a.jpg,x,train", "b.jpg,y,train", *(f"{name},y,train" for name in kinds)))
    problems = check_data(path).problems
    for name, kind in kinds.items():
        hint = "; write paths with '/'" if name == "s\\b.jpg" else ""
        assert [line for line in problems if line.endswith(f"image {name!r} {kind}{hint}")]
        message = refused(table(rows("a.jpg,x,train", "b.jpg,y,train", f"{name},y,train")))
        assert f"image {name!r} {kind} (1 of 3" in message


def test_integers_are_ordered_by_value_and_noted_as_poor_words(table):
    data = load_dataset(table(rows("a.jpg,10,train", "b.jpg,9,train", "c.jpg,10,test")))
    assert data.class_names == ("9", "10")
    assert data.labels.tolist() == [1, 0, 1]
    assert "classes are named by numbers ('9', '10')" in data.notes[0]


def test_words_that_look_like_two_or_like_each_other_are_noted(table):
    content = "path,label,split,attribute\na.jpg,Cat,train,-1\nb.jpg,cat,train,1\n"
    notes = load_dataset(table(content), check=False, attributes=["sea=sea,beach", "land"]).notes
    assert "classes: 'Cat' and 'cat' differ only in upper and lower case; are they one?" in notes
    assert "attributes: 'sea,beach' is one wording; separate several by '|'" in notes
    assert "column attribute: -1 is read as unknown; if -1 and 1 are the two values, write 0 and 1" in notes


def test_a_column_that_differs_from_an_optional_one_in_case_is_refused(table):
    content = "path,label,split,Attribute\na.jpg,cat,train,x\nb.jpg,dog,train,y\n"
    assert "line 1: column 'Attribute' would not be read, but 'attribute' would; rename" in refused(table(content))
    assert not load_dataset(table(content), check=False, columns=["attribute="]).attribute_names


@pytest.mark.parametrize("name", ["train", "TRAIN", "0"])
def test_split_names_and_numbers(table, name):
    content = rows(f"a.jpg,x,{name}", "b.jpg,y,train", "c.jpg,y,valid", "d.jpg,y,validation")
    assert load_dataset(table(content)).splits.tolist() == [0, 0, 1, 1]
    numbers = content.replace("valid\n", "1\n").replace("validation", "2")
    assert load_dataset(table(numbers)).splits[-2:].tolist() == [1, 2]


def test_given_names_set_order_and_wordings(table):
    classes = {"dog": ("dog", "puppy"), "cat": ("cat",)}
    data = load_dataset(table(ROWS), classes=classes, attributes=vocabulary("out", "in"), template=["one {}"])
    assert data.words.classes == classes
    assert data.labels.tolist() == [0, 1, 1, 0]
    assert data.attributes.tolist() == [1, 0, -1, 1]
    assert data.words.templates == ("one {}",)
    assert load_dataset(table(ROWS), template="one {}").words.templates == ("one {}",)
    assert load_dataset(table(ROWS), attribute_template=["at {}"]).words.attribute_templates == ("at {}",)


def test_given_names_index_integer_labels(table):
    content = rows("a.jpg,1,train", "b.jpg,0,train")
    assert load_dataset(table(content), classes=vocabulary("dog", "cat")).labels.tolist() == [1, 0]
    # Names that are numbers themselves are names, not indices.
    assert load_dataset(table(content), classes=vocabulary("1", "0")).labels.tolist() == [0, 1]


def test_without_attribute_column_attributes_are_unknown(table):
    content = rows("a.jpg,x,train", "b.jpg,y,train")
    data = load_dataset(table(content))
    assert data.words.attributes == {}
    assert data.attributes.tolist() == [-1, -1]
    named = load_dataset(table(content), attributes=vocabulary("in", "out"))
    assert named.attribute_names == ("in", "out")
    assert not named.has_true_attributes


def test_without_a_split_column_all_rows_are_of_split_train_as_in_a_folder(table):
    content = rows("a.jpg,x", "b.jpg,y", header="path,label")
    data = load_dataset(table(content))
    assert data.splits.tolist() == [0, 0]
    assert data.notes == ("no split column: all images are in split train, and there is no test split; add one",)
    assert "no column 'fold'" in refused(table(content), columns={"split": "fold"})


def test_an_attribute_column_without_any_value_is_unknown(table):
    content = rows("a.jpg,x,train,", "b.jpg,y,train,-1", header="path,label,split,attribute")
    assert load_dataset(table(content)).words.attributes == {}


def test_tsv_bom_crlf_blank_lines_quotes_and_extra_columns(table, tmp_path):
    (tmp_path / 'odd, "name".jpg').touch()
    data = load_dataset(table("\ufeff" + ROWS.replace(",", "\t").replace("\n", "\r\n"), "pets.tsv"))
    assert data.class_names == ("cat", "dog")
    assert data.lines.tolist() == [2, 3, 4, 5]
    content = rows('x,"odd, ""name"".jpg",dog,train', "", "y,b.jpg,cat,train", header="id,path,label,split")
    data = load_dataset(table(content))
    assert data.paths == ('odd, "name".jpg', "b.jpg")
    assert data.lines.tolist() == [2, 4]


def test_a_quoted_field_over_two_lines_counts_from_its_first(table):
    message = refused(table(rows('a.jpg,"dog",train,"x\ny"', "b.jpg,cat,trian,", header="path,label,split,note")))
    assert message.startswith(str(table(ROWS))) and " line 4: split is 'trian'" in message


def test_root_and_paths_below_it(table, tmp_path):
    touch(tmp_path, "images/deep/a.jpg", "images/b.jpg")
    content = rows("deep/../deep/./a.jpg,dog,train", f"{tmp_path}/images/b.jpg,cat,train")
    data = load_dataset(str(table(content)), str(tmp_path / "images"))
    assert data.paths == ("deep/a.jpg", "b.jpg")
    assert data.root == tmp_path / "images"


def test_a_table_of_absolute_paths_needs_no_root(tmp_path):
    touch(tmp_path, "photos/one/a.jpg", "photos/two/b.jpg", "tables/a.jpg")
    one, two, beside = (tmp_path / name for name in ("photos/one/a.jpg", "photos/two/b.jpg", "tables/a.jpg"))
    table = tmp_path / "tables/pets.csv"
    for paths, root, expected in (
        ((one, two), "photos", ("one/a.jpg", "two/b.jpg")),
        ((one, beside), ".", ("photos/one/a.jpg", "tables/a.jpg")),
        ((beside, beside.parent / "./a.jpg"), "tables", ("a.jpg", "a.jpg")),
    ):
        table.write_text(rows(*(f"{path},{label},train" for path, label in zip(paths, ("dog", "cat"), strict=True))))
        found = load_dataset(table, check=False)
        assert (found.root, found.paths) == (tmp_path / root, expected)
    table.write_text(rows(f"{one},dog,train", "a.jpg,cat,train"))
    assert "is outside the root" in refused(table)


def test_one_relative_path_among_absolute_ones_is_named(tmp_path):
    """And a single absolute one among relative ones."""
    for odd in ("c.jpg", ""):
        names = ["/far/a.jpg", "/far/b.jpg", odd, "/far/d.jpg", "/far/e.jpg"]
        (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(names)))
        assert f"line 4: path {odd!r} is not absolute as those of most rows" in refused(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("path,label\na.jpg,0\nb.jpg,1\n/far/c.jpg,0\nd.jpg,1\n")
    assert "line 4: path '/far/c.jpg' is outside the root" in refused(tmp_path / "t.csv")


def test_an_absolute_path_through_a_link_to_the_root(table, tmp_path):
    touch(tmp_path, "real/a.jpg", "real/deep/b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    content = rows(f"{tmp_path}/link/a.jpg,dog,train", f"{tmp_path}/link/deep/b.jpg,cat,train")
    assert load_dataset(table(content), tmp_path / "real").paths == ("a.jpg", "deep/b.jpg")
    (tmp_path / "loop").symlink_to("loop")
    for outside in ("loop/a.jpg", f"{'n' * 300}/a.jpg", "a.jpg"):
        content = rows(f"{tmp_path}/{outside},dog,train", "a.jpg,cat,train")
        assert "is outside the root" in refused(table(content), tmp_path / "real")


def test_evaluation_needs_no_training_rows_and_not_every_class(table):
    content = rows("a.jpg,dog,test", "b.jpg,dog,test")
    classes = vocabulary("cat", "dog")
    assert "no rows of split 'train'" in refused(table(content), classes=classes)
    assert load_dataset(table(content), classes=classes, training=False).labels.tolist() == [1, 1]


# --- what is refused


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (rows("a.jpg,x,train", header="path,lable,split"), ["line 1: no column 'label'", "'lable', ", "mean 'lable'"]),
        ("path|label|split\na.jpg|x|train\n", ["no column 'path'", "'path|label|split'"]),
        ("a.jpg,x,train\n", ["line 1: looks like a row, ", "; write path and others above it"]),
        ("path,label,split,label\n", ["column 'label' occurs 2 times"]),
        ("path,label,split\n", ["header but no rows"]),
        ("path,label,split\na.jpg,x\n", ["line 2: has 2 fields where the header has 3"]),
        ('path,label,split\na.jpg,"x,train\n', ["line 2: not well-formed"]),
        (rows("a.jpg,x,train", "b.jpg,y,tset"), ["line 3: split is 'tset', expected one of", "did you mean 'test'?"]),
        (rows("a.jpg,x,train", "b.jpg,,train"), ["column 'label' has only the value 'x'"]),
        (
            rows("a.jpg,x,train", "b.jpg,y,train", "c.jpg,,val"),
            ["line 4: label is '', expected one of 'x', 'y'; fill it in, or"],
        ),
        (rows("a.jpg,,train"), ["column 'label' has no value"]),
        (rows("a.jpg,x,train", f"b.jpg,{'y' * 200_000},train"), ["line 3: not well-formed (field larger than"]),
        (rows(",x,train", "b.jpg,y,train"), ["line 2: path '' names no file"]),
        (rows("a.jpg,x,train", "./b.jpg,y,train", "b.jpg,y,val"), ["line 4: 'b.jpg' is already at pets.csv line 3"]),
        (rows("../a.jpg,x,train", "b.jpg,y,train"), ["line 2: path '../a.jpg' leaves the root"]),
        (rows("/etc/passwd,x,train", "b.jpg,y,train"), ["line 2: path '/etc/passwd' is outside the root", "--root"]),
        (rows("a.jpg,x,val", "b.jpg,y,test"), ["no rows of split 'train' (splits found: val, test)"]),
        (rows("a.jpg,x,train", "b.jpg,y,val"), ["class 'y' has 1 rows but none in training"]),
        (rows("a.jpg,x,train", "no.jpg,y,train", "nor,y,val"), ["line 3: image 'no.jpg' is not in", "(2 of 3 images"]),
        (rows("n.jpg,x,train", "o.jpg,y,train"), ["line 2", "(2 of 2 images cannot be found); name the folder"]),
        (rows("a.jpg,x,train", "s\\b.jpg,y,train"), ["(1 of 2 images cannot be found); write paths with '/'"]),
        (rows("s\\a.jpg,x,train", "s\\b.jpg,y,train"), ["(2 of 2 images cannot be found); write paths with '/'"]),
        (rows("a.jpg,x,train", f"{'n' * 300}/b.jpg,y,train"), ["(1 of 2 images cannot be found)"]),
        (rows("a.jpg,x,train", "a.jpg/b.jpg,y,train"), ["(1 of 2 images cannot be found)"]),
    ],
)
def test_one_line_for_a_bad_table(table, content, parts):
    path = table(content)
    message = refused(path)
    assert path.name in message
    for part in parts:
        assert part in message


def test_an_attribute_column_with_one_value_is_refused(table):
    content = rows("a.jpg,x,train,in", "b.jpg,y,train,", header="path,label,split,attribute")
    assert "column 'attribute' has only the value 'in'" in refused(table(content))
    assert load_dataset(table(content), attributes=vocabulary("in", "out")).attributes.tolist() == [0, -1]


def test_a_value_outside_the_given_names(table):
    message = refused(table(ROWS), classes=vocabulary("dog", "cats"))
    assert "csv line 3: label is 'cat', expected one of 'dog', 'cats'; or name the values of label: --cl" in message
    message = refused(table(ROWS), attributes=vocabulary("in", "outside"))
    assert "line 3: attribute is 'out', expected one of 'in', 'outside'" in message
    assert message.endswith("; if the column is about another attribute, ignore it with --columns attribute=")
    content = rows("a.jpg,0,train", "b.jpg,2,train")
    assert "line 3: label is '2', expected one of '0', '1'" in refused(table(content), classes=vocabulary("x", "y"))


def test_missing_table_missing_root_and_wrong_ending(table, tmp_path):
    assert "none.csv: does not exist; expected a table with" in refused(tmp_path / "none.csv")
    assert "nowhere is not a folder" in refused(table(ROWS), tmp_path / "nowhere")
    assert (
        "pets.xlsx': is a file of another kind; expected a data set (waterbirds, celeba, metashift), a .csv"
        in refused(table(ROWS, "pets.xlsx"))
    )
    assert "pet.csv: does not exist (did you mean 'pets.csv'?)" in refused(table(ROWS).parent / "pet.csv")
    for misspelt in ("waterbird", "Waterbirds"):
        assert "did you mean 'waterbirds'?" in refused(misspelt)
    (tmp_path / "folder.csv").mkdir()
    assert "cannot read the file: Is a directory" in refused(tmp_path / "folder.csv")


def test_integers_of_a_true_attribute_are_taken_in_the_order_of_the_names_with_a_note(table):
    content = "path,label,split,attribute\n" + "".join(
        f"{name},{label},train,{code}\n" for name, label, code in (("a.jpg", "cat", 1), ("b.jpg", "dog", 0))
    )
    note = "the integers of column attribute are read as positions in the names given: 0 is photo, 1 is sketch"
    for words in ({"attributes": ["photo", "sketch"]}, {"factors": ["style: photo, sketch"]}):
        data = load_dataset(table(content), check=False, **words)
        assert data.attributes.tolist() == [1, 0] and note in data.notes
    plain = load_dataset(table(content), check=False)
    assert not any("read as positions" in shown for shown in plain.notes)
    again = load_dataset(plain, check=False, attributes=["photo", "sketch"])
    assert again.attributes.tolist() == [1, 0] and any("read as positions" in shown for shown in again.notes)
    named = load_dataset(table(content.replace(",1\n", ",sketch\n").replace(",0\n", ",photo\n")), check=False, **words)
    assert named.attributes.tolist() == [1, 0] and not any("read as positions" in shown for shown in named.notes)
    factor = table(content.replace("attribute", "style").replace(",0\n", ",-1\n"))
    assert "integers of column style" in load_dataset(factor, check=False, **words).notes[0]
