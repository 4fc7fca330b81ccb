"""Tables and the lists of Waterbirds, CelebA and MetaShift as failed downloads and other systems leave them."""

import unicodedata

import pytest
from layouts import edit, pets_metadata, touch, write_birds, write_faces, write_pets
from table_files import refused

from dbpt.data import load_dataset

PAGE = "\n<!DOCTYPE html>\n<html><head><title>Quota exceeded</title></head><body>Too many users</body></html>\n"
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Grèbe/élancé.jpg") for form in ("NFC", "NFD"))


@pytest.fixture(params=["rows.csv", "rows.jsonl", "waterbirds", "celeba", "partition", "merged", "metashift"])
def table(request, tmp_path):
    """(data set, root, one of its tables), each table once."""
    kind = request.param
    if kind.startswith("rows"):
        return tmp_path / kind, tmp_path, tmp_path / kind
    if kind == "waterbirds":
        root = write_birds(tmp_path)
        return kind, root, root / "metadata.csv"
    if kind == "metashift":
        root = write_pets(tmp_path)
        return kind, root, root / "metadata_metashift.csv"
    root = write_faces(tmp_path)
    if kind == "merged":
        (root / "list_attr_celeba.txt").unlink()
    name = {"celeba": "list_attr_celeba.txt", "partition": "list_eval_partition.txt", "merged": "metadata.csv"}[kind]
    return "celeba", root, root / name


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (PAGE.encode(), "is a web page, not metadata (a failed download?); download it again"),
        (b"\xef\xbb\xbf" + PAGE.encode(), "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a Git LFS pointer"),
        (b"", "is empty; expected a header and one row per image"),
        (b" \n\r\n\t", "is empty"),
        (b"1,a.jpg\n2,caf\xe9.jpg,0\n", "line 2: byte 0xe9 is not UTF-8; save it as UTF-8"),
        ("img_filename,y\n".encode("utf-16"), "is not UTF-8 text (UTF-16 or binary)"),
        (b"PK\x03\x04\0\0", "is not UTF-8 text (UTF-16 or binary)"),
    ],
)
def test_what_is_no_table_is_named_by_its_file(table, content, part):
    name, root, path = table
    path.write_bytes(content)
    message = refused(name, root)
    assert message.startswith(str(path))
    assert part in message


@pytest.mark.parametrize(
    "name", ['a,b/it\'s "so", x.jpg', "two\nlines.jpg", "tab\t.jpg", "鳥 🐦.jpg", "-rf.jpg", "a%20b.jpg"]
)
def test_names_with_commas_quotes_newlines_and_letters_of_anywhere(tmp_path, name):
    birds, pets = write_birds(tmp_path), write_pets(tmp_path)
    touch(birds, name)
    quoted = '"' + name.replace('"', '""') + '"'
    edit(birds / "metadata.csv", "002.B/z.jpg", quoted)
    assert load_dataset("waterbirds", birds).paths[2] == name
    touch(pets, f"test/dog/dog(indoor)/{name}")
    (pets / "metadata_metashift.csv").write_text(pets_metadata(pets) + f'20,"/a/{pets.name}/' + quoted[1:] + ",0,0,1\n")
    touch(pets, name)
    assert load_dataset("metashift", pets).paths[-1] == name


@pytest.mark.parametrize(
    ("in_table", "on_disk"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)]
)
def test_names_in_either_unicode_normal_form_are_found(tmp_path, in_table, on_disk):
    birds = write_birds(tmp_path)
    touch(birds, on_disk)
    edit(birds / "metadata.csv", "002.B/z.jpg", in_table)
    assert load_dataset("waterbirds", birds).paths[2] == on_disk
