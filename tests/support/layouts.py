"""Waterbirds, CelebA and MetaShift with a handful of empty images, written in their own layouts."""

from dbpt.data.layouts.metashift import FOLDER, GROUPS

BIRDS = "img_id,img_filename,y,split,place,place_filename\n"
NAMES = "5_o_Clock_Shadow Blond_Hair Male Young"


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def edit(path, old, new):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def write_birds(tmp_path):
    folder = tmp_path / "waterbird_complete95_forest2water2"
    touch(folder, "001.A/x.jpg", "001.A/y.jpg", "002.B/z.jpg")
    rows = "1,001.A/x.jpg,1,0,1,/o/a.jpg\n2,001.A/y.jpg,0,0,1,/o/b.jpg\n3,002.B/z.jpg,0,2,0,/o/c.jpg\n"
    (folder / "metadata.csv").write_text(BIRDS + rows)
    return folder


def write_faces(tmp_path):
    folder = tmp_path / "celeba"
    touch(folder, *(f"img_align_celeba/00000{n}.jpg" for n in (1, 2, 3, 4)))
    rows = ["000001.jpg -1  1  1 -1", "000002.jpg  1 -1  1  1", "000003.jpg -1 -1 -1  1", "000004.jpg -1  1 -1  1"]
    (folder / "list_attr_celeba.txt").write_text("\n".join(["4", NAMES + " ", *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 0\n000003.jpg 1\n000004.jpg 2\n")
    return folder


def write_pets(tmp_path):
    folder = tmp_path / FOLDER
    touch(folder, *(f"{group}/{n}.jpg" for group in GROUPS for n in range(5)))
    return folder


def pets_metadata(folder, prefix="/home/someone/data/metashift/"):
    rows = [
        f"{index},{prefix}{FOLDER}/{group}/{n}.jpg,{n % 3},{y},{a}"
        for index, (n, (group, (y, a))) in enumerate((n, item) for n in range(5) for item in GROUPS.items())
    ]
    return "id,filename,split,y,a\n" + "\n".join(rows) + "\n"
