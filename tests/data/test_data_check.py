"""``dbpt data check``: what it counts, every kind of problem that it names, and its exit code."""

import pytest
from layouts import edit, write_birds, write_faces
from PIL import Image

from dbpt import InputError, check_data

HTML = b"<!DOCTYPE html><html>Quota exceeded</html>"
TABLE = "path,label,split,attribute\na.jpg,dog,train,in\nb.jpg,cat,train,out\nc.jpg,cat,val,in\nd.jpg,dog,test,out\n"


def draw(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((8, 8), 50).save(folder / name, "JPEG")


@pytest.fixture
def birds(tmp_path):
    """Three images, of which the landbird is in training."""
    folder = write_birds(tmp_path)
    draw(folder, "001.A/x.jpg", "001.A/y.jpg", "002.B/z.jpg")
    return folder


@pytest.fixture
def pets(tmp_path):
    draw(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "pets.csv").write_text(TABLE)
    return tmp_path / "pets.csv"


def test_a_data_set_in_order(birds):
    found = check_data("waterbirds", root=birds)
    assert (found.problems, found.warnings) == ((), ())
    assert found.dataset.labels.tolist() == [1, 0, 0]
    text = str(found)
    assert text.startswith(f"waterbirds: 3 images, from {birds}/metadata.csv\n")
    assert "  waterbird, water       1       0       0\n" in text
    assert "note: train: group counts 0/1/0/1 differ" in text
    assert text.endswith("\nno problems found")


def test_published_counts_are_confirmed(birds, monkeypatch):
    counts = ((0, 1, 0, 1), (0, 0, 0, 0), (1, 0, 0, 0))
    monkeypatch.setattr("dbpt.data.layouts.waterbirds.PUBLISHED", counts)
    assert "\n  the counts are the published ones\nno problems found" in str(check_data("waterbirds", root=birds))


def test_all_problems_are_named_not_only_the_first(birds):
    rows = ["4,001.A/x.jpg,0,0,0,p", "5,gone/1.jpg,0,0,0,p", "6,gone/2.jpg,0,0,0,p"]
    with (birds / "metadata.csv").open("a") as file:
        file.write("\n".join(rows) + "\n")
    edit(birds / "metadata.csv", "1,001.A/x.jpg,1,0", "1,001.A/x.jpg,1,2")
    (birds / "001.A/y.jpg").write_bytes(HTML)
    (birds / "002.B/z.jpg").write_bytes(b"")
    found = check_data("waterbirds", root=birds)
    assert found.problems == (
        "metadata.csv line 5: '001.A/x.jpg' is already at metadata.csv line 2; keep one",
        f"{birds}/metadata.csv: class 'waterbird' has 1 rows but none in training; move some to split 'train'",
        f"metadata.csv line 6: image 'gone/1.jpg' is not in {birds}",
        f"metadata.csv line 7: image 'gone/2.jpg' is not in {birds}",
        "metadata.csv line 3: image '001.A/y.jpg': not a JPEG, PNG, WebP, BMP, GIF or TIFF image "
        "(begins with b'<!DOCTYPE ht')",
        "metadata.csv line 4: image '002.B/z.jpg': the file is empty",
    )
    assert "\nproblem: metadata.csv line 5: " in str(found)
    assert "no problems" not in str(found)


def test_of_many_problems_of_a_kind_the_first_five_and_their_number(birds):
    with (birds / "metadata.csv").open("a") as file:
        file.writelines(f"{n},gone/{n}.jpg,0,0,0,p\n" for n in range(40))
    problems = check_data("waterbirds", root=birds).problems
    assert len(problems) == 6
    assert problems[-1] == "and 35 more; in all, 40 images cannot be found"


def test_as_many_unreadable_images_as_fit_allows_are_a_warning(pets):
    Image.effect_noise((64, 64), 50).save(pets.parent / "d.jpg")
    (pets.parent / "d.jpg").write_bytes((pets.parent / "d.jpg").read_bytes()[:-99])
    assert "image 'd.jpg': image file is truncated" in check_data(pets).problems[0]
    found = check_data(pets, max_failures=0.25)
    assert found.problems == ()
    assert found.warnings[0].startswith("pets.csv line 5: image 'd.jpg': image file is truncated")
    assert "leave 1 unreadable images out" in found.warnings[1] and "no problems found" not in str(found)


def test_copies_in_another_split_are_a_warning(birds):
    (birds / "002.B/z.jpg").write_bytes((birds / "001.A/y.jpg").read_bytes())
    (copy,) = check_data("waterbirds", root=birds).warnings
    assert copy.startswith("metadata.csv line 4: '002.B/z.jpg' is a copy of '001.A/y.jpg' in another split")


def test_links_out_of_the_root_are_a_warning(birds, tmp_path):
    draw(tmp_path, "elsewhere/w.jpg", "elsewhere/z.jpg")
    (birds / "002.B/z.jpg").unlink()
    (birds / "002.B/z.jpg").symlink_to(tmp_path / "elsewhere/z.jpg")
    (birds / "003.C").symlink_to(tmp_path / "elsewhere")
    (birds / "004.D").symlink_to(birds / "001.A")
    with (birds / "metadata.csv").open("a") as file:
        file.write("4,003.C/w.jpg,0,0,0,p\n5,004.D/x.jpg,0,0,0,p\n")
    found = check_data("waterbirds", root=birds)
    assert found.problems == ()
    assert [warning.partition(" through a link to ")[::2] for warning in found.warnings] == [
        (f"metadata.csv line {line}: image '{name}' is outside the root,", str(tmp_path / "elsewhere" / target))
        for line, name, target in ((4, "002.B/z.jpg", "z.jpg"), (5, "003.C/w.jpg", ""))
    ]


def test_a_table_without_attribute_names_is_readable_but_not_enough_for_fit(pets):
    pets.write_text(TABLE.replace(",attribute", ",other"))
    expected = ("no spurious attribute is named; fit needs --attributes, but for objectives such as erm",)
    assert check_data(pets).warnings == expected
    assert check_data(pets, attributes=["in", "out"]).warnings == ()


def test_what_cannot_be_read_at_all_and_unknown_settings(birds):
    edit(birds / "metadata.csv", "img_id", "<html>")
    with pytest.raises(InputError, match="is a web page"):
        check_data("waterbirds", root=birds)
    with pytest.raises(InputError, match=r"unknown argument 'roots' \(did you mean 'root'"):
        check_data("waterbirds", roots=birds)


def test_the_command(command, birds):
    code, out, err = command("data", "check", "waterbirds", "--root", birds)
    assert (code, err) == (0, "decoding 3 images\n")
    assert out == f"{check_data('waterbirds', root=birds)}\n"
    (birds / "001.A/x.jpg").unlink()
    code, out, err = command("data", "check", "waterbirds", "--root", birds)
    assert code == 2
    assert f"problem: metadata.csv line 2: image '001.A/x.jpg' is not in {birds}\n" in out
    assert err.endswith("\nError: waterbirds: dbpt fit cannot use it as it is; the problems are named above\n")
    code, out, err = command("data", "check", "waterbirds", "--root", birds / "no")
    assert (code, out) == (2, "")
    assert err.startswith("Error: --root ")


def test_the_command_reads_celeba_s_tasks_and_demos(command, tmp_path, monkeypatch):
    faces = write_faces(tmp_path)
    draw(faces / "img_align_celeba", *(f"00000{n}.jpg" for n in (1, 2, 3, 4)))
    task = ["--celeba-target", "Young", "--celeba-attributes", "Male", "Blond_Hair"]
    code, out, _ = command("data", "check", "celeba", "--root", faces, *task)
    assert code == 0
    assert "  young, male, dark hair          1       0       0\n" in out
    monkeypatch.setattr("dbpt.data.demo.SPLIT_SIZES", (16, 8, 8))
    code, out, _ = command("data", "check", "demo", "--cache", tmp_path)
    assert code == 0
    assert out.startswith("demo-waterbirds: 32 images, from ")
