"""Tables and the lists of Waterbirds, CelebA and MetaShift as failed downloads and other systems leave them."""

import unicodedata

import pytest
from layouts import edit, touch, write_birds
from table_files import refused

from dbpt.data import load_dataset

PAGE = "\n<!DOCTYPE html>\n<html><head><title>Quota exceeded</title></head><body>Too many users</body></html>\n"
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Grèbe/élancé.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
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
        ("img_filename,y\n".encode("utf-16"), "is UTF-16; save it as UTF-8 text"),
        (b"PK\x03\x04\0\0", "is binary or UTF-16; save"),
    ],
)
def test_what_is_no_table_is_named_by_its_file(tmp_path, name, content, part):
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert message.startswith(str(tmp_path / name))
    assert part in message


NAMES = ('a,b/it\'s "so", x.jpg', "two\nlines.jpg", "tab\t.jpg", "鳥 🐦.jpg", "-rf.jpg", "a%20b.jpg", COMPOSED)


@pytest.mark.parametrize(
    ("in_table", "on_disk"), [*zip(NAMES, NAMES, strict=True), (COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)]
)
def test_names_of_any_letters_are_found_in_either_unicode_normal_form(tmp_path, in_table, on_disk):
    birds = write_birds(tmp_path)
    touch(birds, on_disk)
    quoted = '"' + in_table.replace('"', '""') + '"'
    edit(birds / "metadata.csv", "002.B/z.jpg", quoted)
    assert load_dataset("waterbirds", birds).paths[2] == on_disk
